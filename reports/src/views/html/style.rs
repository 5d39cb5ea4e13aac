//! The page's style sheet.

pub(super) const CSS: &str = "
:root { --bg: #ffffff; --fg: #1c2127; --muted: #5f6b7a; --line: #dde2e8; --panel: #f6f8fa; --link: #0b5cad;
  --yes: #1a6e3c; --yes-bg: #dcf3e4; --no: #a3161f; --no-bg: #fde3e4; --part: #8a5a00; --part-bg: #fff0cc;
  --unk: #5a4a9c; --unk-bg: #ebe7fb; --none: #6b7785; --none-bg: transparent; }
@media (prefers-color-scheme: dark) { :root { --bg: #14181d; --fg: #e3e8ee; --muted: #94a0ae; --line: #2c343d;
  --panel: #1b2129; --link: #79b8ff; --yes: #7ddb9e; --yes-bg: #12351f; --no: #ff9ea3; --no-bg: #4a1519;
  --part: #f2c462; --part-bg: #412f08; --unk: #c3b6ff; --unk-bg: #2c2452; --none: #8793a1; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 78rem; background: var(--bg); color: var(--fg);
  font: 15px/1.5 system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif; }
h1 { font-size: 1.55rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 0 0 .5rem; }
h2 .muted, h3 .muted { font-weight: normal; font-size: .85em; }
p { margin: .3rem 0; }
a { color: var(--link); }
.muted { color: var(--muted); }
.caveat { border-left: 4px solid var(--part); background: var(--part-bg); padding: .4rem .75rem; margin: .5rem 0; }
.legend { display: flex; flex-wrap: wrap; gap: .35rem 1.1rem; color: var(--muted); font-size: .85rem; margin-top: .75rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .75rem .35rem 0; text-align: left; vertical-align: top; }
thead th { font-weight: 600; color: var(--muted); font-size: .82rem; vertical-align: bottom; }
tbody th { font-weight: 600; white-space: nowrap; }
tbody tr:hover { background: var(--panel); }
.facts th { font-weight: normal; color: var(--muted); white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
.tests tbody th { font-weight: normal; max-width: 48rem; white-space: normal; }
.files { font-size: .85rem; }
dt { margin-top: .6rem; }
dd { margin-left: 1.25rem; max-width: 60rem; }
dt:target { background: var(--panel); }
.badge { display: inline-block; border: 1px solid currentColor; border-radius: .4rem; padding: 0 .45rem; font-size: .82rem;
  line-height: 1.45; white-space: nowrap; color: var(--none); background: var(--none-bg); }
.badge.emulated { border-style: dashed; }
.badge sup { font-size: .68em; line-height: 0; margin-left: .2em; }
.badge.supported { color: var(--yes); background: var(--yes-bg); }
.badge.unsupported { color: var(--no); background: var(--no-bg); font-weight: 600; }
.badge.partial { color: var(--part); background: var(--part-bg); }
.badge.inconclusive { color: var(--unk); background: var(--unk-bg); }
.badge.offered { color: var(--muted); border-style: dotted; }
.badge.untested, .badge.not-applicable { border-color: transparent; }
section { border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1.1rem; margin: .9rem 0; }
section:target { border-color: var(--link); }
details { margin: .4rem 0; }
summary { cursor: pointer; color: var(--link); }
details > div, details > pre { margin-top: .4rem; }
ul.causes { list-style: none; margin: .25rem 0; padding: 0; }
ul.causes li { border-left: 4px solid var(--line); padding: .1rem .75rem; margin: .5rem 0; }
ul.causes li.fail { border-color: var(--no); }
ul.causes li.error { border-color: var(--unk); }
pre { background: var(--panel); border-radius: .4rem; padding: .6rem .8rem; margin: .3rem 0; max-height: 24rem; overflow: auto;
  font-size: .82rem; white-space: pre-wrap; overflow-wrap: anywhere; }
code, pre { font-family: ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; }
code { font-size: .88em; overflow-wrap: anywhere; }
.detail p { color: var(--muted); font-size: .85rem; overflow-wrap: anywhere; }
.launch { border-top: 1px solid var(--line); padding-top: .4rem; }
.deviation { color: var(--part); font-size: .88rem; }
@media print { body { max-width: none; } section { break-inside: avoid; } }
";
