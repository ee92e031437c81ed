for (const figure of document.querySelectorAll("figure")) {
  const frame = figure.querySelector(".frame"), slider = figure.querySelector("[type=range]");
  const move = () => frame.style.setProperty("--at", slider.value + "%");
  const show = (pair) => {
    const sides = pair.value.split(" ");
    for (const view of frame.querySelectorAll("img"))
      view.className = ["off", "left", "right"][sides.indexOf(view.dataset.view) + 1];
    frame.querySelector(".of-left").textContent = sides[0];
    frame.querySelector(".of-right").textContent = sides[1];
  };
  slider.addEventListener("input", move);
  move();
  for (const pair of figure.querySelectorAll("[type=radio]")) {
    pair.addEventListener("change", () => show(pair));
    if (pair.checked) show(pair);
  }
}
