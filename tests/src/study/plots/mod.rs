//! The study as pictures: SVG, one file each, both rules in each.

mod confusion;
mod delay;
mod false_alerts;
mod sweep;

use super::sweep::Point;
use super::tally::Row;
use super::traces::Confusion;
use plotters::prelude::*;
use std::path::Path;

/// Ours and the classic rule, apart for every kind of colour vision (Okabe and Ito).
const OURS: RGBColor = RGBColor(0, 114, 178);
const CLASSIC: RGBColor = RGBColor(213, 94, 0);
const WORD: RGBColor = RGBColor(0, 158, 115);
const MOVING: RGBColor = RGBColor(0, 130, 95);
const STILL: RGBColor = RGBColor(92, 64, 140);
const UNKNOWN: RGBColor = RGBColor(170, 170, 170);
const INK: RGBColor = RGBColor(30, 30, 30);
const FAINT: RGBColor = RGBColor(222, 222, 222);

const FONT: &str = "sans-serif";
const TITLE: u32 = 24;
const TEXT: u32 = 17;

/// Why a picture was not drawn.
type Fault = Box<dyn std::error::Error>;

/// Everything there is to draw.
#[derive(Debug)]
pub struct Pictures<'a> {
    /// The rows of the study.
    pub rows: &'a [Row],
    /// The sweep of the threshold, if it was made.
    pub sweep: &'a [Point],
    /// Verdicts against labels, if traces were given: minutes, seconds, windows.
    pub confusion: &'a [(i64, i64, Confusion)],
}

/// Draws them into a folder, which is made if it is not there; the names of the files.
pub fn draw(pictures: &Pictures<'_>, folder: &Path) -> Result<Vec<String>, String> {
    let failed =
        |what: &str, e: &dyn std::fmt::Display| format!("cannot draw {what} into {}: {e}.", folder.display());
    std::fs::create_dir_all(folder).map_err(|e| failed("anything", &e))?;
    let mut drawn = vec![];
    let mut put = |name: &str, result: Result<(), Fault>| {
        result.map_err(|e| failed(name, &e))?;
        drawn.push(name.to_owned());
        Ok::<(), String>(())
    };
    let file = |name: &str| folder.join(name);
    if !pictures.rows.is_empty() {
        put("time-to-alert.svg", delay::draw(pictures.rows, &file("time-to-alert.svg")))?;
        put("false-alerts.svg", false_alerts::draw(pictures.rows, &file("false-alerts.svg")))?;
    }
    if !pictures.sweep.is_empty() {
        put("thresholds.svg", sweep::draw(pictures.sweep, &file("thresholds.svg")))?;
    }
    if !pictures.confusion.is_empty() {
        put("movement.svg", confusion::draw(pictures.confusion, &file("movement.svg")))?;
    }
    Ok(drawn)
}

/// Text of that size in ink.
fn text(size: u32) -> TextStyle<'static> {
    TextStyle::from((FONT, size)).color(&INK)
}

/// A square that stands for a colour, and what it means.
fn key<DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    (x, y): (i32, i32),
    colour: RGBColor,
    meaning: &str,
) -> Result<(), Fault>
where
    DB::ErrorType: 'static,
{
    area.draw(&Rectangle::new([(x, y), (x + 14, y + 14)], colour.filled()))?;
    area.draw_text(meaning, &text(TEXT), (x + 20, y - 1))?;
    Ok(())
}
