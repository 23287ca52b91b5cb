/** The page's style: the figures' own variables, a grid of 8 px, one column under 820 px, and paper. */
import { adaptiveStyle, themes, themeVariables } from '../figures/theme.ts';
import { tokenFlowStyle } from './token-flow.ts';

const variable = (name: string) => `var(--kvl-${name})`;
const mono = "ui-monospace,'SF Mono','DejaVu Sans Mono',Menlo,Consolas,monospace";

export function pageStyle(): string {
  const [background, panel, ink, ink2, ink3, rule] = ['background', 'panel', 'ink', 'ink2', 'ink3', 'rule'].map(
    variable,
  );
  return `
${adaptiveStyle()}
${tokenFlowStyle}
.kvl-flow h3{font-size:14.5px;font-weight:620;line-height:1.35;margin:0}.kvl-flow-note{font-size:12.5px;color:${ink3};margin:0 0 8px}.kvl-flow{margin:0}.kvl-flow-tokens{margin:4px 0 14px}.kvl-candidates th,.kvl-candidates td{padding:1px 8px 1px 0;border:0;vertical-align:middle;font-size:12.5px}.kvl-token.read{background:${panel}}
:root{color-scheme:light}:root[data-theme=dark]{color-scheme:dark}
.kvl-page{${themeVariables(themes.light)}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:${background};color:${ink};font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;font-variant-numeric:tabular-nums}
.page{max-width:1184px;margin:0 auto;padding:24px 32px 80px;background:${background}}
code,pre{font-family:${mono};font-size:.88em;overflow-wrap:anywhere}
a{color:inherit}
:focus-visible{outline:2px solid ${variable('uncached')};outline-offset:2px}
.bar{display:flex;flex-wrap:wrap;gap:4px 16px;align-items:baseline;font-size:13px;color:${ink2};padding-bottom:12px;border-bottom:1px solid ${rule}}
.bar b{color:${ink};font-size:15px;font-weight:650}.space{flex:1}.bar a{text-decoration:none}
.ok{color:${variable('ok')};font-weight:600;white-space:nowrap}.bad{color:${variable('bad')};font-weight:600;white-space:nowrap}.open{color:${ink3};white-space:nowrap}
h1{font-size:33px;font-weight:640;line-height:1.22;letter-spacing:-.02em;max-width:29em;margin:36px 0 12px;text-wrap:balance}
.lede{font-size:17px;line-height:1.55;color:${ink2};max-width:46em;margin:0 0 24px}.lede b{color:${ink};font-weight:600}
.cards{display:grid;grid-template-columns:repeat(5,1fr);border-top:2px solid ${ink};margin:0 0 14px}
.card{display:block;padding:11px 16px 12px 0;text-decoration:none;min-width:0}.card+.card{border-left:1px solid ${rule};padding-left:16px}
.card span{display:block}.card:hover .answer{text-decoration:underline;text-underline-offset:3px}
.question{font-size:12.5px;color:${ink3}}.answer{font-size:20px;font-weight:640;line-height:1.25;letter-spacing:-.015em;margin:1px 0 3px}
.evidence{font-size:12.5px;line-height:1.42;color:${ink2}}
.scope{font-size:12.5px;color:${ink3};border-top:1px solid ${rule};padding-top:9px;margin:0;max-width:none}
.page section:not(.kvl-flow){margin-top:54px}h2{font-size:21px;font-weight:640;letter-spacing:-.015em;margin:0 0 4px}.number{color:${ink3};font-weight:450;margin-right:8px}
.page section:not(.kvl-flow) h3{font-size:15px;font-weight:600;margin:18px 0 6px}.about{max-width:46em;margin:0 0 18px;color:${ink2}}
.figures{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:0 44px}
figure{margin:0 0 30px;min-width:0;scroll-margin-top:12px}figure.whole{grid-column:1/-1}
.title{font-size:14.5px;font-weight:620;line-height:1.35}.subtitle{font-size:12.5px;line-height:1.42;color:${ink3};margin-bottom:8px}
.drawing{position:relative}.drawing svg{display:block;max-width:100%;height:auto;overflow:visible}
.missing{color:${ink3};font-size:12.5px}.missing p{margin:2px 0 0}.missing .title{font-size:12.5px;font-weight:500;color:${ink2}}
figure.missing{margin-bottom:14px}
.readout{font-size:12.5px;min-height:0}.readout:not(:empty){background:${panel};border-left:3px solid ${rule};padding:7px 12px;margin-top:8px;display:flex;flex-wrap:wrap;gap:2px 20px}
.readout.locked{border-left-color:${ink}}.readout span{color:${ink3}}.readout b{font-weight:600;color:${ink}}.readout .query{flex-basis:100%;color:${ink3}}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;width:100%}
thead th{text-align:left;font-weight:500;font-size:12.5px;color:${ink3};border-bottom:1px solid ${ink};padding:4px 14px 4px 0}
tbody th{text-align:left;font-weight:600;white-space:nowrap}tbody th,td{border-bottom:1px solid ${rule};padding:5px 14px 5px 0;vertical-align:top}
details{margin:0 0 8px}summary{cursor:pointer;font-size:13px;padding:3px 0}details .scroll{margin:4px 0 14px}
.command{white-space:pre-wrap;background:${panel};padding:9px 13px;margin:12px 0 14px}
.facts{display:grid;grid-template-columns:fit-content(22em) minmax(0,1fr);gap:3px 14px;font-size:13px;margin:0 0 28px}.facts dt{color:${ink3};overflow-wrap:anywhere}.facts dd{margin:0;overflow-wrap:anywhere}
.not-evidence .figures{opacity:.45;filter:grayscale(1)}.not-evidence .title::before{content:'not evidence: ';color:${variable('bad')}}
.keys{font-size:12.5px;color:${ink3};margin:6px 0 0}.keys kbd{font:inherit;font-weight:600;color:${ink2}}
.cursor{position:absolute;pointer-events:none;outline:2px solid ${ink};box-shadow:0 0 0 3px ${background},inset 0 0 0 1px ${background}}
.cursor:not(.locked){outline-width:1.5px}
.lens{flex-basis:100%;font-family:${mono};font-size:12px;line-height:1.8;color:${ink3}}.lens bdi{padding:1px 3px}
.lens .flip{color:${ink};font-weight:700}.lens .here{color:${ink};font-weight:700;outline:1.5px solid ${ink}}
svg .read{stroke:${ink};stroke-width:2.5;paint-order:stroke}svg .shared{stroke:${ink};stroke-width:3;paint-order:stroke}
svg .thumbnail{cursor:pointer}
.waiting .drawing{opacity:.5}
.rows{margin:6px 0 0;font-size:12.5px;color:${ink3}}.rows summary{padding:0;font-size:12.5px}.rows .scroll{max-height:320px;overflow:auto;margin-top:6px}.rows table{font-size:12px;width:auto}
#explorer fieldset{border:1px solid ${rule};border-radius:4px;margin:20px 0 0;padding:6px 14px 12px;display:flex;flex-wrap:wrap;gap:8px 18px;align-items:center;font-size:12.5px;color:${ink2}}
#explorer legend{padding:0 6px;color:${ink3}}#explorer fieldset{min-width:0}#explorer label{display:flex;gap:6px;align-items:center;min-width:0;white-space:nowrap}#explorer select{min-width:0;flex:0 1 auto;text-overflow:ellipsis}#explorer p{flex-basis:100%;margin:0;color:${ink3}}
#status{position:fixed;right:16px;bottom:16px;max-width:min(46em,calc(100vw - 32px));background:${panel};color:${ink};border-left:3px solid ${ink};padding:8px 14px;font-size:13px;z-index:2}#status:empty{display:none}
button,select,input{font:inherit;font-size:12.5px;color:${ink};background:${background};border:1px solid ${rule};border-radius:4px;padding:3px 9px;max-width:100%}
button{cursor:pointer}button:hover{border-color:${ink3}}
@media (max-width:820px){
.page{padding:16px 16px 56px}h1{font-size:26px;margin-top:24px}.lede{font-size:16px}
.cards{grid-template-columns:1fr}.card{padding-left:0!important}.card+.card{border-left:0;border-top:1px solid ${rule}}
.figures{grid-template-columns:minmax(0,1fr)}.page section:not(.kvl-flow){margin-top:40px}
figure.whole .drawing{overflow-x:auto}figure.whole .drawing svg{max-width:none}
.facts{grid-template-columns:minmax(0,1fr)}.facts dd{margin-bottom:6px}
}
@media print{
:root,:root[data-theme=dark]{color-scheme:light}:root .kvl,:root .kvl-page,:root[data-theme=dark] .kvl,:root[data-theme=dark] .kvl-page{${themeVariables(themes.light)}}
:root[data-theme=dark] .kvl-light{display:inline}:root[data-theme=dark] .kvl-dark{display:none}
svg,.cursor,.kvl-candidates{print-color-adjust:exact;-webkit-print-color-adjust:exact}
@page{margin:14mm}
.page{max-width:none;padding:0}body{font-size:10pt}
#tools,#explorer,#status,.keys,.rows:not([open]){display:none}figure,tr,.card{break-inside:avoid}section{break-inside:auto}h2{break-after:avoid}
.drawing svg{max-width:100%!important}a.card{text-decoration:none}details>*{display:block}
}
`;
}
