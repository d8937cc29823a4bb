//! What another threshold would gain and cost: found against falsely accused, for both rules.

use super::{CLASSIC, FAINT, FONT, Fault, INK, OURS, TEXT, TITLE, key, text};
use crate::study::ground::Family;
use crate::study::interval::Figure;
use crate::study::sweep::Point;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

/// The threshold of the rules.
const DEFAULT: u16 = 800;
/// One column of the sweep, against one other.
type Column = fn(&Point) -> Figure;

pub(super) fn draw(points: &[Point], path: &Path) -> Result<(), Fault> {
    let area = SVGBackend::new(path, (1_000, 900)).into_drawing_area();
    area.fill(&WHITE)?;
    let (plots, keys) = area.split_vertically(850);
    let panels: [(&str, &str, Column, Column); 4] = [
        ("Deep night", "nights with tours, no sleeper: false alert, %", |p| p.nights_with, |p| p.deep),
        ("Regular night", "nights with tours, no sleeper: false alert, %", |p| p.nights_with, |p| p.regular),
        ("Deep night", "nights at a post without tours: false alert, %", |p| p.post, |p| p.deep),
        ("Regular night", "nights at a post without tours: false alert, %", |p| p.post, |p| p.regular),
    ];
    for (panel, (title, cost, x, y)) in plots.split_evenly((2, 2)).iter().zip(panels) {
        draw_panel(panel, points, title, cost, x, y)?;
    }
    key(&keys, (60, 12), OURS, "ours")?;
    key(&keys, (150, 12), CLASSIC, "classic rule")?;
    keys.draw_text(
        "a dot is a threshold, 1.0 left to 0.5 right; large: 0.8, the default; bars: 95 % intervals",
        &text(TEXT),
        (300, 12),
    )?;
    area.present()?;
    Ok(())
}

fn draw_panel<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    points: &[Point],
    title: &str,
    cost: &str,
    x: Column,
    y: Column,
) -> Result<(), Fault>
where
    DB::ErrorType: 'static,
{
    let most = points.iter().map(|p| x(p).high).fold(0.0, f64::max);
    let widest = (100.0 * most / 5.0).ceil() * 5.0;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, TITLE))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(54)
        .y_label_area_size(66)
        .build_cartesian_2d(-0.02 * widest..widest, 0.0..102.0)?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(FAINT)
        .x_labels(6)
        .y_labels(6)
        .x_desc(cost)
        .y_desc("sleepers found, %")
        .label_style(text(TEXT))
        .axis_desc_style(text(TEXT))
        .axis_style(INK)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    for (family, colour) in [(Family::Classic, CLASSIC), (Family::Ours, OURS)] {
        let of_family: Vec<&Point> = points.iter().filter(|p| p.family == family).collect();
        let place = |p: &Point| (100.0 * x(p).value, 100.0 * y(p).value);
        let line: Vec<(f64, f64)> = of_family.iter().map(|p| place(p)).collect();
        chart.draw_series(std::iter::once(PathElement::new(line, colour.stroke_width(2))))?;
        for p in of_family {
            let (px, py) = place(p);
            let (fx, fy) = (x(p).times(100.0), y(p).times(100.0));
            for bar in [vec![(fx.low, py), (fx.high, py)], vec![(px, fy.low), (px, fy.high)]] {
                chart
                    .draw_series(std::iter::once(PathElement::new(bar, colour.mix(0.45).stroke_width(2))))?;
            }
            let size = if p.threshold == DEFAULT { 7 } else { 3 };
            chart.draw_series(std::iter::once(Circle::new((px, py), size, colour.filled())))?;
        }
    }
    Ok(())
}
