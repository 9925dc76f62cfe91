"use strict";
// Boxes that scroll are reached by the keyboard too, in every browser.
const boxes = () => {
  for (const box of document.querySelectorAll("pre, .scroll")) {
    if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
};
boxes();
addEventListener("resize", boxes);
document.addEventListener("toggle", boxes, true);

// The exercise: 0.42, 0,42, 3e-4, 1/3. NaN is what is not a number.
const plain = (text) => /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
const numberOf = (text) => {
  const parts = text.replaceAll("−", "-").replaceAll(",", ".").split("/").map((part) => plain(part.trim()));
  const number = parts.length === 1 ? parts[0] : parts.length === 2 ? parts[0] / parts[1] : NaN;
  return Number.isFinite(number) ? number : NaN;
};
const form = document.getElementById("judge");
if (form) {
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = numberOf(document.getElementById("typed").value);
    const right = Number(form.dataset.answer), within = Number(form.dataset.within);
    const verdict = document.getElementById("verdict");
    if (Number.isNaN(typed)) {
      verdict.className = "again";
      verdict.textContent = "? This is not a number. Type one such as 0.42, 3e-4 or 1/3.";
    } else if (Math.abs(typed - right) <= within * (Math.abs(right) || 1)) {
      verdict.className = "good";
      verdict.textContent = "✓ Right.";
    } else {
      verdict.className = "wrong";
      verdict.textContent = "✗ Not quite. Try again, or open the answer below.";
    }
  });
}
