// A slider below a figure: the picture of each value is a file, fetched when a reader first touches the slider.
"use strict";

function slide(box) {
  const frames = JSON.parse(box.dataset.frames);
  const input = box.querySelector("input");
  const line = box.querySelector("p");
  const picture = document.querySelector(`figure[id="${box.dataset.figure}"] img`);
  if (!picture) return;
  const words = picture.alt;

  const fetchAll = () => frames.forEach((frame) => (new Image().src = frame.src));
  for (const first of ["pointerenter", "focusin", "touchstart"]) box.addEventListener(first, fetchAll, { once: true, passive: true });

  input.addEventListener("input", () => {
    const frame = frames[input.valueAsNumber];
    picture.src = frame.src;
    picture.alt = `${words} (${input.labels[0].textContent}: ${frame.value})`;
    input.setAttribute("aria-valuetext", frame.value);
    line.textContent = frame.numbers ? `${frame.value} · ${frame.numbers}` : frame.value;
  });
}

document.querySelectorAll(".lk-slider").forEach(slide);
