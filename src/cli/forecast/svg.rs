//! Drawings: a few shapes in an SVG, with axes that a person reads.

use std::fmt::Write;

/// Pixels of a drawing.
pub(super) const WIDTH: f64 = 900.0;
/// Pixels of a drawing.
pub(super) const HEIGHT: f64 = 420.0;
/// Pixels round the plot for the axes' words.
const MARGIN: f64 = 60.0;

/// A drawing with two axes.
pub(super) struct Drawing {
    body: String,
    x: (f64, f64),
    y: (f64, f64),
    legend: usize,
}

impl Drawing {
    /// An empty one over these ranges.
    pub(super) fn new(title: &str, x: (f64, f64), y: (f64, f64), y_name: &str) -> Drawing {
        let mut it = Drawing { body: String::new(), x, y, legend: 0 };
        it.text(WIDTH / 2.0, 24.0, "middle", 16, title);
        it.text(MARGIN, MARGIN - 14.0, "start", 12, y_name);
        let (left, right) = (MARGIN, WIDTH - MARGIN);
        let (top, bottom) = (MARGIN, HEIGHT - MARGIN);
        let _ = write!(it.body, r##"<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#444"/>"##);
        for step in 0..=5 {
            let value = y.0 + (y.1 - y.0) * f64::from(step) / 5.0;
            let at = it.at(x.0, value).1;
            let _ = write!(it.body, r##"<path d="M{left} {at:.1}H{right}" stroke="#ddd"/>"##);
            it.text(left - 6.0, at + 4.0, "end", 11, &short(value));
        }
        it
    }
    /// A word below the horizontal axis.
    pub(super) fn tick(&mut self, x: f64, word: &str) {
        let at = self.at(x, self.y.0).0;
        self.text(at, HEIGHT - MARGIN + 18.0, "middle", 11, word);
    }
    /// A line through points.
    pub(super) fn line(&mut self, points: impl IntoIterator<Item = (f64, f64)>, colour: &str) {
        let path = self.path(points);
        let _ = write!(self.body, r##"<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>"##);
    }
    /// A filled shape round points.
    pub(super) fn area(&mut self, points: impl IntoIterator<Item = (f64, f64)>, colour: &str, opacity: f64) {
        let path = self.path(points);
        let _ = write!(self.body, r##"<path d="{path}Z" fill="{colour}" fill-opacity="{opacity}" stroke="none"/>"##);
    }
    /// A dot with a word that shows when it is pointed at.
    pub(super) fn dot(&mut self, x: f64, y: f64, colour: &str, word: &str) {
        let (x, y) = self.at(x, y);
        let word = escaped(word);
        let _ = write!(
            self.body,
            r##"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="{colour}"><title>{word}</title></circle>"##
        );
    }
    /// A vertical line with a word beside it.
    pub(super) fn mark(&mut self, x: f64, colour: &str, word: &str) {
        let (x, bottom) = self.at(x, self.y.0);
        let _ =
            write!(self.body, r##"<path d="M{x:.1} {MARGIN}V{bottom:.1}" stroke="{colour}" stroke-dasharray="4 3"/>"##);
        self.text(x + 4.0, MARGIN + 12.0, "start", 11, word);
    }
    /// A line of the legend.
    pub(super) fn legend(&mut self, colour: &str, word: &str) {
        let y = MARGIN + 30.0 + 18.0 * self.legend as f64;
        let x = MARGIN + 16.0;
        let _ = write!(self.body, r##"<rect x="{x}" y="{:.1}" width="14" height="10" fill="{colour}"/>"##, y - 9.0);
        self.text(x + 20.0, y, "start", 12, word);
        self.legend += 1;
    }
    /// The whole document.
    pub(super) fn finish(self) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\">\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>{}</svg>\n",
            self.body
        )
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let share = |value: f64, (low, high): (f64, f64)| if high > low { (value - low) / (high - low) } else { 0.0 };
        let across = share(x, self.x) * (WIDTH - 2.0 * MARGIN);
        let up = share(y, self.y) * (HEIGHT - 2.0 * MARGIN);
        (MARGIN + across, HEIGHT - MARGIN - up)
    }
    fn path(&self, points: impl IntoIterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (x, y) in points {
            let (x, y) = self.at(x, y);
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { 'M' } else { 'L' });
        }
        path
    }
    fn text(&mut self, x: f64, y: f64, anchor: &str, size: u32, text: &str) {
        let text = escaped(text);
        let _ = write!(
            self.body,
            r##"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}">{text}</text>"##
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A number as an axis shows it.
fn short(value: f64) -> String {
    if value.abs() >= 10_000.0 { format!("{:.0} k", value / 1_000.0) } else { format!("{value:.0}") }
}
