//! Bars as SVG: where each stands and how high it is. Colours are the style sheet's, so that one picture is legible on a
//! dark screen and on white paper; the words are beside it in HTML, so that they are as large as the rest on a telephone.

/// The height of a picture in its own units.
pub const HEIGHT: u64 = 100;

/// The width of a column in the same units; the screen stretches it.
pub const STEP: u64 = 10;

/// One bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// Its left edge.
    pub x: u64,
    /// Its upper edge.
    pub y: u64,
    /// How high it is; something is never as low as nothing.
    pub height: u64,
    /// Which class of the style sheet it has.
    pub tone: &'static str,
    /// What is said when somebody points at it.
    pub words: String,
}

/// A picture with one bar for each value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What it is good for: said to whoever does not see it.
    pub told: String,
    /// The bars.
    pub bars: Vec<Bar>,
    /// How wide all of it is.
    pub width: u64,
    /// What the full height stands for.
    pub most: String,
    /// What stands below the first bar, and below the last.
    pub ends: (String, String),
}

/// One value of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// What it is of, as below the picture.
    pub name: String,
    /// How much; `None` leaves a gap.
    pub value: Option<f64>,
    /// The same in words.
    pub words: String,
    /// Which class of the style sheet it has.
    pub tone: &'static str,
}

impl Chart {
    /// A picture of these values, of which `full` fills the height; without it the largest does.
    pub fn of(title: &str, points: Vec<Point>, full: Option<(f64, String)>) -> Self {
        let values = points.iter().filter_map(|point| point.value);
        let largest = values.fold(0.0_f64, f64::max);
        let (full, most) = full.unwrap_or_else(|| (largest, format!("{largest:.0}")));
        let told: Vec<String> =
            points.iter().map(|point| format!("{}: {}", point.name, point.words)).collect();
        let name = |point: Option<&Point>| point.map(|point| point.name.clone()).unwrap_or_default();
        let ends = (name(points.first()), name(points.last()));
        let bars: Vec<Bar> = points.into_iter().zip(0..).map(|(point, n)| bar(point, n, full)).collect();
        let width = u64::try_from(bars.len()).unwrap_or(u64::MAX).saturating_mul(STEP);
        // Hundreds of numbers are no picture for the ear; the table beside it has them.
        let told = if told.len() <= 31 { told.join(", ") } else { "the table below has the numbers".into() };
        Self { title: title.to_owned(), told, bars, width, most, ends }
    }
}

fn bar(point: Point, n: u64, full: f64) -> Bar {
    let height = point.value.map_or(0, |value| tenths(value, full));
    let words = format!("{}: {}", point.name, point.words);
    Bar { x: n * STEP, y: HEIGHT.saturating_sub(height), height, tone: point.tone, words }
}

/// How much of the height, in whole units; something is at least two of them, so that it can be seen.
pub fn tenths(value: f64, full: f64) -> u64 {
    if value <= 0.0 || full <= 0.0 {
        return 0;
    }
    // A loop over 100 steps, because a cast from a float may lose what nobody sees it lose.
    (2..=HEIGHT).rev().find(|height| units(*height) * full <= value * units(HEIGHT)).unwrap_or(2)
}

fn units(height: u64) -> f64 {
    u32::try_from(height).map_or(0.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(name: &str, value: Option<f64>) -> Point {
        Point { name: name.into(), value, words: format!("{value:?}"), tone: "plain" }
    }

    #[test]
    fn the_largest_fills_the_height_and_something_is_never_nothing() {
        let points = vec![
            point("Mon", Some(4.0)),
            point("Tue", None),
            point("Wed", Some(1.0)),
            point("Thu", Some(0.001)),
        ];
        let chart = Chart::of("breaches", points, None);
        let bars: Vec<_> = chart.bars.iter().map(|bar| (bar.x, bar.y, bar.height)).collect();
        assert_eq!(bars, [(0, 0, 100), (10, 100, 0), (20, 75, 25), (30, 98, 2)]);
        assert_eq!((chart.width, chart.most.as_str()), (40, "4"));
        assert_eq!((chart.ends.0.as_str(), chart.ends.1.as_str()), ("Mon", "Thu"));
    }

    #[test]
    fn nothing_at_all_is_a_picture_too() {
        let chart = Chart::of("breaches", vec![point("Mon", Some(0.0))], None);
        assert_eq!((chart.bars[0].height, chart.most.as_str()), (0, "0"));
        assert_eq!(Chart::of("breaches", vec![], None).width, 0);
    }
}
