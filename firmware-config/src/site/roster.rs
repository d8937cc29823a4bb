//! What is due: `[[tours]]`, `[[shifts]]` and `[[tasks]]`.

use crate::table::Table;
use crate::value::{day, flag, instant, local_time, one_of, span, text};
use vigil_core::id::{TaskId, TourId};
use vigil_core::observation::Priority;
use vigil_core::site::{Shift, ShiftHours, SiteTask, Tour, TourType};
use vigil_core::time::{Days, LocalTime, Span, Timestamp};

/// The most elements of a list inside a tour or a shift: a start every five minutes of a day, and then some.
const MAX_LIST: usize = 500;

pub(super) fn tour(table: &mut Table<'_>) -> Option<Tour> {
    const TYPES: [(&str, TourType); 4] = [
        ("ROUTINE", TourType::Routine),
        ("CRITICAL", TourType::Critical),
        ("PERIMETER", TourType::Perimeter),
        ("BUILDING", TourType::Building),
    ];
    let id: TourId = table.id("id")?;
    let tour = Tour {
        name: table.optional("name", text).unwrap_or_else(|| id.to_string()),
        id,
        kind: table.optional("type", one_of(&TYPES)).unwrap_or(TourType::Routine),
        // A tour that nobody marked is one that must happen: silence about it would be the worse mistake.
        mandatory: table.optional("mandatory", flag).unwrap_or(true),
        checkpoints: table.ids("checkpoints"),
        ordered: table.optional("ordered", flag).unwrap_or(false),
        start: table.list("start", local_time).unwrap_or_default(),
        days: days(table),
        duration: table.required("duration", span, Span::from_hours(1)),
        guard: table.optional("guard", crate::value::id),
        min_dwell: table.optional("min_dwell", span),
    };
    for (key, length) in [("checkpoints", tour.checkpoints.len()), ("start", tour.start.len())] {
        if length > MAX_LIST {
            table.refuse(key, format!("at most {MAX_LIST}"));
        }
    }
    Some(tour)
}

fn days(table: &mut Table<'_>) -> Days {
    let Some(names) = table.list("days", day) else { return Days::ALL };
    if names.is_empty() {
        table.refuse("days", "at least one day, or no such key for every day");
    }
    let mut days = Days::NONE;
    for name in names {
        days.insert(&name);
    }
    days
}

pub(super) fn shift(table: &mut Table<'_>) -> Option<Shift> {
    Some(Shift {
        id: table.id("id")?,
        guard: table.id("guard")?,
        hours: shift_hours(table),
        breaks: table.tables("breaks", |one| Some((wall(one, "from"), wall(one, "to")))),
    })
}

fn wall(table: &mut Table<'_>, key: &'static str) -> LocalTime {
    table.required(key, local_time, LocalTime::hour(0))
}

fn shift_hours(table: &mut Table<'_>) -> ShiftHours {
    if table.has("starts_at") || table.has("ends_at") {
        for key in ["days", "from", "to"] {
            table.forbid(key, "nothing here beside starts_at and ends_at");
        }
        let starts_at = table.required("starts_at", instant, Timestamp::default());
        let ends_at = table.required("ends_at", instant, starts_at + Span::from_hours(8));
        return ShiftHours::Once { starts_at, ends_at };
    }
    for key in ["starts_at", "ends_at"] {
        table.forbid(key, "nothing here");
    }
    ShiftHours::Weekly { days: days(table), from: wall(table, "from"), to: wall(table, "to") }
}

pub(super) fn task(table: &mut Table<'_>) -> Option<SiteTask> {
    const PRIORITIES: [(&str, Priority); 4] = [
        ("CRITICAL", Priority::Critical),
        ("HIGH", Priority::High),
        ("MEDIUM", Priority::Medium),
        ("LOW", Priority::Low),
    ];
    let id: TaskId = table.id("id")?;
    Some(SiteTask {
        title: table.optional("title", text).unwrap_or_else(|| id.to_string()),
        id,
        priority: table.required("priority", one_of(&PRIORITIES), Priority::Low),
        guard: table.optional("guard", crate::value::id),
        created_at: table.required("created_at", instant, Timestamp::default()),
        due_at: table.optional("due_at", instant),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::{problems, site};

    #[test]
    fn a_tour_that_nobody_marked_must_happen_every_day() {
        let site = site(
            "[[checkpoints]]\nid = \"gate\"\n[[tours]]\nid = \"round\"\ncheckpoints = [\"gate\"]\n\
             start = [\"22:00\"]\nduration = \"40m\"\n",
        );
        let tour = &site.tours[0];
        assert!(tour.mandatory && !tour.ordered);
        assert_eq!((tour.days, tour.kind), (Days::ALL, TourType::Routine));
    }

    #[test]
    fn a_place_that_cannot_be_read_moves_no_other() {
        let found = problems(
            "[[tours]]\nid = \"t\"\ncheckpoints = [\n\"a b\",\n\"gate\"]\nstart = [\"22:00\"]\nduration = \"40m\"\n",
        );
        assert_eq!(
            found,
            [
                "site.toml:10: tours[0].checkpoints[0]: found \"a b\", allowed: an id of 1 to 64 characters of A-Z a-z \
             0-9 . _ -",
                "site.toml:11: tours[0].checkpoints[1]: found \"gate\", allowed: the id of a checkpoint",
            ]
        );
    }

    #[test]
    fn a_shift_is_weekly_or_once() {
        let site = site(
            "[[guards]]\nid = \"G\"\n\
             [[shifts]]\nid = \"a\"\nguard = \"G\"\ndays = [\"mon\", \"sun\"]\nfrom = \"20:00\"\nto = \"06:00\"\n\
             breaks = [{ from = \"00:00\", to = \"00:30\" }]\n\
             [[shifts]]\nid = \"b\"\nguard = \"G\"\nstarts_at = 2026-03-10T20:00:00Z\nends_at = \"2026-03-11T06:00:00Z\"\n",
        );
        let mut expected = Days::NONE;
        expected.insert("mon");
        expected.insert("sun");
        let weekly = ShiftHours::Weekly { days: expected, from: LocalTime::hour(20), to: LocalTime::hour(6) };
        assert_eq!(site.shifts[0].hours, weekly);
        assert_eq!(site.shifts[0].breaks.len(), 1);
        assert!(matches!(site.shifts[1].hours, ShiftHours::Once { .. }));
    }

    #[test]
    fn the_two_ways_to_write_a_shift_do_not_mix() {
        let found = problems(
            "[[guards]]\nid = \"G\"\n[[shifts]]\nid = \"a\"\nguard = \"G\"\nfrom = \"20:00\"\n\
             starts_at = 2026-03-10T20:00:00Z\n",
        );
        assert_eq!(
            found,
            [
                "site.toml:9: shifts[0].ends_at: found nothing, allowed: an instant from 1970 on with its offset, like \
             \"2026-03-10T20:00:00+05:30\"",
                "site.toml:12: shifts[0].from: found \"20:00\", allowed: nothing here beside starts_at and ends_at",
            ]
        );
    }

    #[test]
    fn days_have_names_and_there_is_at_least_one() {
        let tour = "[[checkpoints]]\nid = \"g\"\n[[tours]]\nid = \"t\"\ncheckpoints = [\"g\"]\n\
                    start = [\"22:00\"]\nduration = \"40m\"\n";
        let found = problems(&format!("{tour}days = [\"mon\", \"day\"]"));
        assert_eq!(
            found,
            ["site.toml:14: tours[0].days[1]: found \"day\", allowed: mon, tue, wed, thu, fri, sat or sun"]
        );
        assert_eq!(problems(&format!("{tour}days = []")).len(), 1);
    }

    #[test]
    fn a_task_needs_a_priority_and_when_it_was_made() {
        let found = problems("[[tasks]]\nid = \"T\"\npriority = \"high\"\n");
        assert_eq!(
            found,
            [
                "site.toml:7: tasks[0].created_at: found nothing, allowed: an instant from 1970 on with its offset, like \
             \"2026-03-10T20:00:00+05:30\"",
                "site.toml:9: tasks[0].priority: found \"high\", allowed: \"CRITICAL\" or \"HIGH\" or \"MEDIUM\" or \"LOW\"",
            ]
        );
    }
}
