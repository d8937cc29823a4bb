//! Topics: what is well formed, what matches, and the tree that finds the subscribers of a topic.
//!
//! Levels are compared one by one, byte by byte, and never normalised: `a/../b` is three levels of text.

use super::limits::{MAX_TOPIC_BYTES, MAX_TOPIC_LEVELS};
use std::collections::BTreeMap;
pub(super) use vigil_core::mapping::covers as matches;

/// A topic or a filter that MQTT or the broker's bounds do not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    /// Nothing at all.
    #[error("a topic has at least one character")]
    Empty,
    /// More bytes or levels than any topic here has.
    #[error("a topic has at most {MAX_TOPIC_BYTES} bytes in {MAX_TOPIC_LEVELS} levels")]
    TooLong,
    /// U+0000 or another control character.
    #[error("a topic has no control characters")]
    Control,
    /// A wildcard where a name is expected, or in the middle of a level.
    #[error("a wildcard stands alone in a level of a filter, and # only at its end")]
    Wildcard,
}

/// Whether a topic can be published to.
pub(super) fn check_name(topic: &str) -> Result<(), InvalidTopic> {
    check_length(topic)?;
    if topic.contains(['+', '#']) { Err(InvalidTopic::Wildcard) } else { Ok(()) }
}

/// Whether a filter can be subscribed to.
pub(super) fn check_filter(filter: &str) -> Result<(), InvalidTopic> {
    check_length(filter)?;
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let last = levels.peek().is_none();
        let alone = level == "+" || (level == "#" && last);
        if level.contains(['+', '#']) && !alone {
            return Err(InvalidTopic::Wildcard);
        }
    }
    Ok(())
}

fn check_length(topic: &str) -> Result<(), InvalidTopic> {
    if topic.is_empty() {
        return Err(InvalidTopic::Empty);
    }
    if topic.len() > MAX_TOPIC_BYTES || topic.split('/').count() > MAX_TOPIC_LEVELS {
        return Err(InvalidTopic::TooLong);
    }
    if topic.contains(char::is_control) { Err(InvalidTopic::Control) } else { Ok(()) }
}

/// Who subscribed to what, by level.
#[derive(Debug)]
pub(super) struct Tree<K, V> {
    root: Node<K, V>,
}

#[derive(Debug)]
struct Node<K, V> {
    below: BTreeMap<Box<str>, Self>,
    here: BTreeMap<K, V>,
}

impl<K, V> Default for Node<K, V> {
    fn default() -> Self {
        Self { below: BTreeMap::new(), here: BTreeMap::new() }
    }
}

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<K: Ord, V> Tree<K, V> {
    /// Adds or replaces a subscription; the one that it replaces.
    pub(super) fn insert(&mut self, filter: &str, key: K, value: V) -> Option<V> {
        let node = filter.split('/').fold(&mut self.root, |node, l| node.below.entry(l.into()).or_default());
        node.here.insert(key, value)
    }

    /// That of one subscriber to a filter.
    pub(super) fn get(&self, filter: &str, key: &K) -> Option<&V> {
        filter.split('/').try_fold(&self.root, |node, level| node.below.get(level))?.here.get(key)
    }

    /// Takes a subscription out, and every branch that nobody is left on.
    pub(super) fn remove(&mut self, filter: &str, key: &K) -> Option<V> {
        self.root.remove(&mut filter.split('/'), key)
    }

    /// Calls `found` for each subscription that covers `topic`; overlapping ones come one after the other.
    pub(super) fn visit<'a>(&'a self, topic: &str, found: &mut impl FnMut(&'a K, &'a V)) {
        let levels: Vec<&str> = topic.split('/').collect();
        self.root.visit(&levels, !topic.starts_with('$'), found);
    }
}

impl<K: Ord, V> Node<K, V> {
    fn remove<'f>(&mut self, levels: &mut impl Iterator<Item = &'f str>, key: &K) -> Option<V> {
        let Some(level) = levels.next() else { return self.here.remove(key) };
        let branch = self.below.get_mut(level)?;
        let removed = branch.remove(levels, key);
        if branch.here.is_empty() && branch.below.is_empty() {
            self.below.remove(level);
        }
        removed
    }

    fn visit<'a>(&'a self, levels: &[&str], wildcards: bool, found: &mut impl FnMut(&'a K, &'a V)) {
        if let Some(rest) = self.below.get("#").filter(|_| wildcards) {
            rest.here.iter().for_each(|(k, v)| found(k, v));
        }
        let Some((level, deeper)) = levels.split_first() else {
            return self.here.iter().for_each(|(k, v)| found(k, v));
        };
        if let Some(branch) = self.below.get(*level) {
            branch.visit(deeper, true, found);
        }
        if let Some(branch) = self.below.get("+").filter(|_| wildcards) {
            branch.visit(deeper, true, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn topics_and_filters_are_checked() {
        assert_eq!(check_name(""), Err(InvalidTopic::Empty));
        assert_eq!(check_name("a/+/b"), Err(InvalidTopic::Wildcard));
        assert_eq!(check_name("a\0b"), Err(InvalidTopic::Control));
        assert_eq!(check_name(&"a/".repeat(MAX_TOPIC_LEVELS)), Err(InvalidTopic::TooLong));
        assert_eq!(check_name(&"a".repeat(MAX_TOPIC_BYTES + 1)), Err(InvalidTopic::TooLong));
        assert_eq!(check_name("a/../b"), Ok(()));
        assert_eq!(check_filter("a/#/b"), Err(InvalidTopic::Wildcard));
        assert_eq!(check_filter("a/b#"), Err(InvalidTopic::Wildcard));
        assert_eq!(check_filter("a/b+/c"), Err(InvalidTopic::Wildcard));
        assert_eq!(check_filter("+/a/#"), Ok(()));
    }

    #[test]
    fn the_specification_s_examples_match() {
        assert!(matches("sport/tennis/player1/#", "sport/tennis/player1"));
        assert!(matches("sport/+", "sport/"));
        assert!(!matches("sport/+", "sport"));
        assert!(matches("+/+", "/finance"));
        assert!(!matches("+", "/finance"));
        assert!(!matches("#", "$SYS/uptime"));
        assert!(!matches("+/monitor/Clients", "$SYS/monitor/Clients"));
        assert!(matches("$SYS/#", "$SYS/uptime"));
        assert!(!matches("a/b", "a/../a/b"));
    }

    #[test]
    fn a_wildcard_at_its_head_finds_no_topic_of_the_broker_s_own() {
        let mut tree = Tree::default();
        for filter in ["#", "+/uptime", "$SYS/#", "$SYS/+"] {
            tree.insert(filter, filter, ());
        }
        let mut found = vec![];
        tree.visit("$SYS/uptime", &mut |filter, ()| found.push(*filter));
        found.sort_unstable();
        assert_eq!(found, ["$SYS/#", "$SYS/+"]);
    }

    /// The definition, written the slow and obvious way.
    fn naive(filter: &[&str], topic: &[&str]) -> bool {
        match (filter.split_first(), topic.split_first()) {
            (None, None) => true,
            (Some((&"#", [])), _) => true,
            (Some((&"+", f)), Some((_, t))) => naive(f, t),
            (Some((a, f)), Some((b, t))) => a == b && naive(f, t),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    fn filter() -> impl Strategy<Value = String> {
        let levels = prop::collection::vec(prop::sample::select(vec!["a", "b", "", "..", "+"]), 1..5);
        (levels, any::<bool>()).prop_map(|(levels, all)| {
            let text = levels.join("/");
            if all { text + "/#" } else { text }
        })
    }

    fn topic() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "", "..", "$s"]), 1..6)
            .prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #[test]
        fn the_matcher_agrees_with_the_definition(filter in filter(), topic in topic()) {
            let hidden = topic.starts_with('$') && filter.starts_with(['+', '#']);
            let levels = |text: &'_ str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
            let (f, t) = (levels(&filter), levels(&topic));
            let f: Vec<_> = f.iter().map(String::as_str).collect();
            let t: Vec<_> = t.iter().map(String::as_str).collect();
            prop_assert_eq!(matches(&filter, &topic), !hidden && naive(&f, &t));
        }

        #[test]
        fn the_tree_finds_what_the_matcher_finds(
            filters in prop::collection::vec(filter(), 0..12),
            gone in prop::collection::vec(any::<bool>(), 12),
            topic in topic(),
        ) {
            let mut tree = Tree::default();
            let mut kept = BTreeSet::new();
            for (i, f) in filters.iter().enumerate() {
                tree.insert(f, i, ());
            }
            for (i, f) in filters.iter().enumerate() {
                if gone[i] { prop_assert!(tree.remove(f, &i).is_some()); } else { kept.insert(i); }
            }
            let mut found = Vec::new();
            tree.visit(&topic, &mut |key, ()| found.push(*key));
            found.sort_unstable();
            let expected: Vec<_> = kept.iter().copied().filter(|i| matches(&filters[*i], &topic)).collect();
            prop_assert_eq!(found, expected);
            for i in &kept { tree.remove(&filters[*i], i); }
            prop_assert!(tree.root.below.is_empty());
        }
    }
}
