/** The style of what surrounds a drawing: its caption, and the word that it goes on beyond the edge of a narrow window. */
export const figureStyle = [
  '.caption{font-size:12.5px;line-height:1.42;color:var(--kvl-ink3);margin:6px 0 0}',
  // Drawings over the whole width keep it on a narrow screen, and scroll; paper has them smaller.
  "@media screen and (max-width:820px){figure.whole .subtitle::after{content:' Scroll the drawing →';color:var(--kvl-ink2);font-weight:600;white-space:nowrap}}",
  // Within a drawing that is read the outline is of its cells, not of its words.
  'svg .thumbnail.read text{stroke:none}',
].join('\n');
