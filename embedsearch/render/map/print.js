// What is printed: each map as it is seen, on white, as one picture that the paper may scale. A printer neither waits for
// the graphics card nor tells the page how wide the paper is.

const PRINT_SCALE = 2;  // pixels for one of the screen

class Printer {
  constructor(page) {
    this.page = page;
    window.addEventListener("beforeprint", () => this.begin());
    window.addEventListener("afterprint", () => this.end());
  }

  begin() {
    this.end();
    this.onPaper(true);
    for (const plot of this.page.plots) plot.element.append(this.picture(plot));
  }

  end() {
    for (const picture of document.querySelectorAll(".print")) picture.remove();
    this.onPaper(false);
  }

  onPaper(is) {
    this.page.legend.onPaper = is;
    this.page.legend.draw();
  }

  picture(plot) {
    const canvas = make("canvas", { className: "print" });
    const painter = new PixelPainter(canvas, plot.points, [plot.width, plot.height, PRINT_SCALE]);
    const { shown, found } = plot.painter;
    Object.assign(painter, { shown, found, camera: plot.camera });
    const { by, palette } = this.page.legend;
    painter.colour(plot.points.shades[by], palette, "#ffffff");
    const context = canvas.getContext("2d");
    context.scale(PRINT_SCALE, PRINT_SCALE);
    this.write(context, plot);
    const row = plot.rings.chosen;
    if (row >= 0) {
      context.beginPath();
      context.arc(plot.across(plot.points.x[row]), plot.down(plot.points.y[row]), 11, 0, 2 * Math.PI);
      context.stroke();
    }
    return canvas;
  }

  write(context, plot) {
    Object.assign(context, { textAlign: "center", textBaseline: "middle", lineJoin: "round", lineWidth: 3 });
    for (const { span, label, x, y } of plot.labels.filter((each) => each.span.classList.contains("seen"))) {
      const style = getComputedStyle(span);
      const height = parseFloat(style.lineHeight);
      context.font = style.font;
      label.split(" · ").forEach((line, i, lines) => {
        const place = [plot.across(x), plot.down(y) + (i - (lines.length - 1) / 2) * height];
        context.strokeStyle = "white";
        context.strokeText(line, ...place);
        context.fillText(line, ...place);
      });
    }
    context.strokeStyle = "black";
  }
}
