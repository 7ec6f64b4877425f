// Whoever has no mouse scrolls wide tables by the arrow keys, once they can be focused.
addEventListener("load", () => {
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) {
    if (table.scrollWidth > table.clientWidth) table.tabIndex = 0
  }
})
