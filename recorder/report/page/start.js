// Builds the charts of a page that has their data in it.
"use strict";

localTimes();
showViews(JSON.parse(document.getElementById("data").textContent).views.map(decodeView));
