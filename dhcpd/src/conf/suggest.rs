//! "Did you mean": the known word that is nearest to an unknown one.

/// Longer words are not compared.
const MAX_WORD: usize = 64;

/// Of words this long, the rest may be missing.
const MIN_BEGINNING: usize = 5;

/// The candidate with the fewest letters left out, put in, exchanged or swapped with their
/// neighbour, if those are few for the word's length; or one that begins with the word.
pub fn nearest(word: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if word.len() < 2 || word.len() > MAX_WORD {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let limit = (word.len() / 3).clamp(1, 3);
    let near = |candidate: &'static str| {
        let begins = word.len() >= MIN_BEGINNING && candidate.starts_with(&word);
        // At least as many edits as one has more letters than the other.
        let distance = match candidate.len().abs_diff(word.len()) <= limit {
            true => distance(word.as_bytes(), candidate.as_bytes()),
            false => usize::MAX,
        };
        let distance = if begins { distance.min(limit) } else { distance };
        (distance <= limit).then_some((distance, candidate))
    };
    candidates.filter_map(near).min_by_key(|(distance, _)| *distance).map(|(_, near)| near)
}

/// Edits from one to the other: the restricted Damerau-Levenshtein distance, three rows at a time.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (row, letter) in from.iter().enumerate() {
        let mut this = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX);
            let exchanged = at(&last, column) + usize::from(letter != other);
            let put_in = at(&this, column) + 1;
            let left_out = at(&last, column + 1) + 1;
            let mut best = exchanged.min(put_in).min(left_out);
            if column > 0 && previous == Some(other) && to.get(column - 1) == Some(letter) {
                best = best.min(at(&before, column - 1) + 1);
            }
            this.push(best);
        }
        before = std::mem::replace(&mut last, this);
        previous = Some(letter);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let of = |a: &str, b: &str| distance(a.as_bytes(), b.as_bytes());
        assert_eq!(of("", ""), 0);
        assert_eq!(of("abc", ""), 3);
        assert_eq!(of("", "abc"), 3);
        assert_eq!(of("authorative", "authoritative"), 2);
        assert_eq!(of("sbunet", "subnet"), 1);
        assert_eq!(of("subnet", "subnett"), 1);
        assert_eq!(of("range", "orange"), 1);
        assert_eq!(of("kitten", "sitting"), 3);
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let names = || ["authoritative", "range", "subnet"].into_iter();
        assert_eq!(nearest("authorative", names()), Some("authoritative"));
        assert_eq!(nearest("Authoratative", names()), Some("authoritative"));
        assert_eq!(nearest("rnage", names()), Some("range"));
        assert_eq!(nearest("author", names()), Some("authoritative"));
        assert_eq!(nearest("auth", names()), None);
        assert_eq!(nearest("banana", names()), None);
        assert_eq!(nearest("x", names()), None);
        assert_eq!(nearest(&"x".repeat(1000), names()), None);
    }
}
