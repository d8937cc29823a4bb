//! Figures as a person reads them: an estimate with its interval.

use super::interval::Figure;

/// A share in percent: `98.2 % (97.1-98.9)`.
pub fn percent(figure: Option<Figure>) -> String {
    figure.map_or_else(nothing, |f| {
        let f = f.times(100.0);
        let digits = if f.value > 0.0 && f.value < 1.0 { 2 } else { 1 };
        format!("{:.digits$} % ({:.digits$}-{:.digits$})", f.value, f.low, f.high)
    })
}

/// A rate of events for a hundred guard-nights: `0.10 (0.00-0.56)`.
pub fn for_a_hundred(figure: Option<Figure>) -> String {
    figure.map_or_else(nothing, |f| {
        let f = f.times(100.0);
        let digits = if f.high < 10.0 { 2 } else { 1 };
        format!("{:.digits$} ({:.digits$}-{:.digits$})", f.value, f.low, f.high)
    })
}

/// Whole minutes: `124 (123-126)`.
pub fn minutes(figure: Option<Figure>) -> String {
    figure.map_or_else(nothing, |f| format!("{:.0} ({:.0}-{:.0})", f.value, f.low, f.high))
}

fn nothing() -> String {
    "-".to_owned()
}

/// Columns that line up under their heads; the first is flush left, figures are flush right.
#[derive(Debug)]
pub struct Columns {
    rows: Vec<Vec<String>>,
}

impl Columns {
    /// With these heads.
    pub fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|h| (*h).to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// As Markdown, which lines up on a terminal as well.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let wide = |c: usize| self.rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|c| wide(c).unwrap_or(0).max(2)).collect();
        let mut lines: Vec<String> = self.rows.iter().map(|row| line(row, &widths)).collect();
        let rule = widths.iter().enumerate().map(|(c, w)| match c {
            0 => format!("| {} ", "-".repeat(*w)),
            _ => format!("| {}: ", "-".repeat(w.saturating_sub(1))),
        });
        lines.insert(1, rule.collect::<String>() + "|");
        lines.join("\n") + "\n"
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).enumerate().map(|(c, (text, width))| match c {
        0 => format!("| {text:<width$} "),
        _ => format!("| {text:>width$} "),
    });
    cells.collect::<String>() + "|"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_carry_their_interval() {
        let f = Some(Figure { value: 0.982, low: 0.971, high: 0.989 });
        assert_eq!(percent(f), "98.2 % (97.1-98.9)");
        assert_eq!(percent(Some(Figure { value: 0.001, low: 0.0002, high: 0.0056 })), "0.10 % (0.02-0.56)");
        assert_eq!(for_a_hundred(Some(Figure { value: 0.001, low: 0.0, high: 0.0056 })), "0.10 (0.00-0.56)");
        assert_eq!(minutes(None), "-");
    }

    #[test]
    fn columns_line_up() {
        let mut columns = Columns::new(&["what", "n"]);
        columns.row(["a longer name".into(), "7".into()]);
        let lines = ["| what          |  n |", "| ------------- | -: |", "| a longer name |  7 |", ""];
        assert_eq!(columns.text(), lines.join("\n"));
    }
}
