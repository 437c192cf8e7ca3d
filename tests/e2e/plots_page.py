"""Write .dvc/plots/page.html, the page of `dvc plots`: Vega's JavaScript is inside, so it needs no internet.

Run it after an update of vl-convert: ``python tests/e2e/plots_page.py``.
"""

from importlib.metadata import version
from pathlib import Path

import vl_convert

PAGE = Path(__file__).parents[2] / ".dvc/plots/page.html"
_VEGA_LITE = "5.20"  # DVC's own templates and those beside the page are of version 5
_PAGE = """<!doctype html>
<html lang="en">
<!--
The script is Vega {vega}, Vega-Lite {vega_lite} and Vega-Embed {embed} with their dependencies, as bundled by
vl-convert {bundler} (tests/e2e/plots_page.py). Vega, Vega-Lite and Vega-Embed: Copyright University of Washington
Interactive Data Lab, BSD 3-Clause licence:

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:
1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following
   disclaimer.
2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
   disclaimer in the documentation and/or other materials provided with the distribution.
3. Neither the name of the copyright holder nor the names of its contributors may be used to endorse or promote products
   derived from this software without specific prior written permission.
THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF
THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.

Their dependencies are under the BSD, ISC and MIT licences.
-->
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{{refresh_tag}}
<title>Plots</title>
<style>
body {{ display: flex; flex-wrap: wrap; gap: 2rem; margin: 1.5rem; background: #fff; font: 15px/1.5 sans-serif; }}
</style>
<script>
{bundle}
</script>
<script>
// DVC writes an empty specification for a plot without rows.
const embed = vegaEmbed;
vegaEmbed = (id, spec) => Object.keys(spec).length ? embed(id, spec) : document.querySelector(id).remove();
</script>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def page() -> str:
    """Return the page as a template of DVC."""
    return _PAGE.format(
        vega=vl_convert.get_vega_version(),
        vega_lite=_VEGA_LITE,
        embed=vl_convert.get_vega_embed_version(),
        bundler=version("vl-convert-python"),
        bundle=vl_convert.javascript_bundle(vl_version=_VEGA_LITE),  # type: ignore[call-arg]  # its stub is wrong
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
