//! How long it takes: the share of sleepers found by then.

use super::{CLASSIC, FAINT, FONT, Fault, INK, OURS, TEXT, TITLE, WORD, key, text};
use crate::study::interval::float;
use crate::study::scenario::Part;
use crate::study::tally::Row;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

/// Minutes on the axis: no sleep of these rows lasts longer.
const LONGEST: f64 = 240.0;

pub(super) fn draw(rows: &[Row], path: &Path) -> Result<(), Fault> {
    let area = SVGBackend::new(path, (1_000, 470)).into_drawing_area();
    area.fill(&WHITE)?;
    let sleepers: Vec<&Row> = rows.iter().filter(|r| r.scenario.part == Part::Sleepers).collect();
    let (plots, keys) = area.split_vertically(420);
    for (panel, row) in plots.split_evenly((1, sleepers.len().max(1))).iter().zip(sleepers) {
        draw_panel(panel, row)?;
    }
    key(&keys, (80, 12), OURS, "inactivity alert, ours")?;
    key(&keys, (300, 12), CLASSIC, "inactivity alert, classic rule")?;
    key(&keys, (560, 12), WORD, "any alert, ours: inactivity, or a tour not begun")?;
    area.present()?;
    Ok(())
}

fn draw_panel<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, row: &Row) -> Result<(), Fault>
where
    DB::ErrorType: 'static,
{
    let title = if row.scenario.key == "sleep_deep" {
        "Falls asleep in deep night"
    } else {
        "Falls asleep in regular night"
    };
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, TITLE))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(54)
        .y_label_area_size(66)
        .build_cartesian_2d(0.0..LONGEST, 0.0..100.0)?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(FAINT)
        .x_labels(9)
        .y_labels(6)
        .x_desc("minutes after falling asleep")
        .y_desc("sleepers found by then, %")
        .label_style(text(TEXT))
        .axis_desc_style(text(TEXT))
        .axis_style(INK)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    let curves = [
        (&row.ours.first_word, row.ours.sleepers, WORD),
        (&row.classic.minutes, row.classic.sleepers, CLASSIC),
        (&row.ours.minutes, row.ours.sleepers, OURS),
    ];
    for (minutes, of, colour) in curves {
        let mut steps = vec![(0.0, 0.0)];
        for (n, m) in (1_u64..).zip(minutes) {
            let before = steps.last().map_or(0.0, |(_, y)| *y);
            steps.push((m.min(LONGEST), before));
            steps.push((m.min(LONGEST), 100.0 * float(n) / float(of.max(1))));
        }
        steps.push((LONGEST, steps.last().map_or(0.0, |(_, y)| *y)));
        chart.draw_series(std::iter::once(PathElement::new(thinned(&steps), colour.stroke_width(3))))?;
    }
    Ok(())
}

/// What cannot be told apart on the picture is left out, so that the file stays small.
fn thinned(steps: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = vec![];
    for (n, step) in steps.iter().enumerate() {
        let last = n + 1 == steps.len();
        let far = |k: &(f64, f64)| (k.0 - step.0).abs() > 0.7 || (k.1 - step.1).abs() > 0.6;
        if last || kept.last().is_none_or(far) {
            kept.push(*step);
        }
    }
    kept
}
