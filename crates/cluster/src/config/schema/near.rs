//! The nearest known name to one that is not known, for hints. Pure.

/// How alike two names must be, from 0 to 1, to be offered.
const ALIKE: f64 = 0.75;

/// The name most like `given`, if any is like it.
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(given, name), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}
