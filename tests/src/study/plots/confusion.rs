//! What the estimator says of phones whose label is known, and what the summed rule says.

use super::{FONT, Fault, INK, MOVING, STILL, TEXT, TITLE, UNKNOWN, key, text};
use crate::study::interval::float;
use crate::study::traces::Confusion;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

const BAR: i32 = 26;
const STEP: i32 = 34;
const LEFT: i32 = 250;
const WIDTH: i32 = 700;

pub(super) fn draw(cases: &[(i64, i64, Confusion)], path: &Path) -> Result<(), Fault> {
    let blocks = i32::try_from(cases.len()).unwrap_or(1);
    let height = 130 + blocks * (4 * STEP + 40);
    let area = SVGBackend::new(path, (1_000, height.unsigned_abs())).into_drawing_area();
    area.fill(&WHITE)?;
    area.draw_text(
        "Movement of labelled phones, share of windows",
        &TextStyle::from((FONT, TITLE)).color(&INK),
        (40, 14),
    )?;
    let mut y = 54;
    for (window, sample, found) in cases {
        let head = format!("windows of {window} min, sampled every {sample} s");
        area.draw_text(&head, &text(TEXT), (40, y))?;
        y += 24;
        for (label, walks) in [("lay still", false), ("walked", true)] {
            let row = if walks { found.walk } else { found.still };
            let all = float(row.iter().sum::<u64>().max(1));
            let summed = float(found.summed_moving[usize::from(walks)]) / all;
            let ours =
                [(row[0], MOVING), (row[1], STILL), (row[2], UNKNOWN)].map(|(n, c)| (float(n) / all, c));
            let n = row.iter().sum::<u64>();
            bar(&area, y, &format!("{label} (n = {n}): ours"), &ours)?;
            y += STEP;
            bar(&area, y, "summed rule", &[(summed, MOVING), (1.0 - summed, STILL)])?;
            y += STEP;
        }
        y += 16;
    }
    key(&area, (LEFT, y + 6), MOVING, "moving (ACTIVE)")?;
    key(&area, (LEFT + 180, y + 6), STILL, "still (INACTIVE)")?;
    key(&area, (LEFT + 360, y + 6), UNKNOWN, "cannot tell (UNOBSERVED)")?;
    area.present()?;
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "a share of a few hundred pixels")]
fn bar<DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    y: i32,
    name: &str,
    shares: &[(f64, RGBColor)],
) -> Result<(), Fault>
where
    DB::ErrorType: 'static,
{
    let right = text(TEXT).pos(Pos::new(HPos::Right, VPos::Center));
    area.draw_text(name, &right, (LEFT - 12, y + BAR / 2))?;
    let mut x = LEFT;
    for (share, colour) in shares {
        let end = x + (share * f64::from(WIDTH)).round() as i32;
        area.draw(&Rectangle::new([(x, y), (end, y + BAR)], colour.filled()))?;
        if *share >= 0.05 {
            let inside =
                TextStyle::from((FONT, TEXT)).color(&WHITE).pos(Pos::new(HPos::Center, VPos::Center));
            area.draw_text(
                &format!("{:.0} %", 100.0 * share),
                &inside,
                (i32::midpoint(x, end), y + BAR / 2),
            )?;
        }
        x = end;
    }
    Ok(())
}
