function enlarge(view) { view.parentNode.classList.toggle("large"); view.parentNode.scrollIntoView({block: "nearest"}); }
document.addEventListener("click", event => { const view = event.target.closest(".view"); if (view) enlarge(view); });
document.addEventListener("keydown", event => {
  if (event.key === "Enter" && event.target.matches(".view")) enlarge(event.target);
});
