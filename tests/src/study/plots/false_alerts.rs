//! What it costs: nights with a false alert, row by row, under both rules.

use super::{CLASSIC, FAINT, FONT, Fault, INK, OURS, TEXT, TITLE, key, text};
use crate::study::interval::{Figure, float};
use crate::study::scenario::Target;
use crate::study::tally::Row;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

/// Nothing at all is drawn here: a logarithmic axis has no zero.
const LEAST: f64 = 0.05;
/// Where the names end and the axis begins, and where the axis ends.
const LEFT: u32 = 430;

pub(super) fn draw(rows: &[Row], path: &Path) -> Result<(), Fault> {
    let rows: Vec<&Row> = rows.iter().filter(|r| r.ours.sleepers == 0).collect();
    let count = u32::try_from(rows.len()).unwrap_or(1);
    let area = SVGBackend::new(path, (1_000, 110 + 34 * count)).into_drawing_area();
    area.fill(&WHITE)?;
    let (plot, keys) = area.split_vertically(62 + 34 * count);
    let mut chart = ChartBuilder::on(&plot)
        .caption("Nights with a false inactivity alert", (FONT, TITLE))
        .margin(8)
        .margin_right(24)
        .x_label_area_size(24)
        .y_label_area_size(LEFT)
        .build_cartesian_2d((LEAST..100.0).log_scale(), 0.0..float(rows.len() as u64))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .max_light_lines(0)
        .bold_line_style(FAINT)
        .label_style(text(TEXT))
        .axis_style(INK)
        .x_label_formatter(&|x| if *x <= LEAST { "0".into() } else { format!("{x} %") })
        .draw()?;
    let name = text(TEXT).pos(Pos::new(HPos::Right, VPos::Center));
    for (n, row) in rows.iter().enumerate() {
        let middle = float((rows.len() - n) as u64) - 0.5;
        let at = chart.backend_coord(&(LEAST, middle));
        plot.draw_text(row.scenario.title, &name, (at.0 - 14, at.1))?;
        if let Some(Target::NightsWith(share) | Target::AlertsEachNight(share)) = row.scenario.target {
            let x = 100.0 * share;
            chart.draw_series(std::iter::once(PathElement::new(
                vec![(x, middle - 0.45), (x, middle + 0.45)],
                INK.stroke_width(1),
            )))?;
        }
        for (figure, off, colour) in
            [(row.ours.nights_with_alert(), 0.17, OURS), (row.classic.nights_with_alert(), -0.17, CLASSIC)]
        {
            let Some(figure) = figure.map(percent) else { continue };
            let y = middle + off;
            let interval = vec![(figure.low, y), (figure.high, y)];
            chart.draw_series(std::iter::once(PathElement::new(interval, colour.stroke_width(4))))?;
            let style = if figure.value > LEAST { colour.filled() } else { WHITE.filled() };
            chart.draw_series(std::iter::once(Circle::new((figure.value, y), 6, style)))?;
            chart.draw_series(std::iter::once(Circle::new((figure.value, y), 6, colour.stroke_width(2))))?;
        }
        let break_before = rows.get(n + 1).is_some_and(|next| next.scenario.part != row.scenario.part);
        if break_before {
            let y = middle - 0.5;
            chart.draw_series(std::iter::once(PathElement::new(
                vec![(LEAST, y), (100.0, y)],
                FAINT.stroke_width(2),
            )))?;
        }
    }
    key(&keys, (40, 8), OURS, "ours")?;
    key(&keys, (130, 8), CLASSIC, "classic rule")?;
    keys.draw_text(
        "bars: 95 % intervals; open dot: none in all nights; thin line: asked to stay below",
        &text(TEXT),
        (280, 8),
    )?;
    area.present()?;
    Ok(())
}

fn percent(figure: Figure) -> Figure {
    let f = figure.times(100.0);
    Figure { value: f.value.max(LEAST), low: f.low.max(LEAST), high: f.high.max(LEAST) }
}
