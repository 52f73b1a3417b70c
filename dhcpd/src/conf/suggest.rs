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
    let mut rows = Rows::default();
    let near = |candidate: &'static str| {
        let begins = word.len() >= MIN_BEGINNING && candidate.starts_with(&word);
        let distance = rows.distance(word.as_bytes(), candidate.as_bytes(), limit);
        let distance = if begins { Some(distance.unwrap_or(limit)) } else { distance };
        Some((distance?, candidate))
    };
    candidates.filter_map(near).min_by_key(|(distance, _)| *distance).map(|(_, near)| near)
}

/// Three rows of the table of distances, kept for the next pair of words.
#[derive(Default)]
struct Rows {
    before: Vec<usize>,
    last: Vec<usize>,
    this: Vec<usize>,
}

impl Rows {
    /// Edits from one to the other, the restricted Damerau-Levenshtein distance; `None` if they
    /// are more than the limit.
    fn distance(&mut self, from: &[u8], to: &[u8], limit: usize) -> Option<usize> {
        // At least as many edits as one has more letters than the other.
        if from.len().abs_diff(to.len()) > limit {
            return None;
        }
        let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
        let Rows { before, last, this } = self;
        last.clear();
        last.extend(0..=to.len());
        let mut previous = None;
        for (row, letter) in from.iter().enumerate() {
            this.clear();
            this.push(row + 1);
            for (column, other) in to.iter().enumerate() {
                let exchanged = at(last, column) + usize::from(letter != other);
                let put_in = at(this, column) + 1;
                let left_out = at(last, column + 1) + 1;
                let mut best = exchanged.min(put_in).min(left_out);
                if column > 0 && previous == Some(other) && to.get(column - 1) == Some(letter) {
                    best = best.min(at(before, column - 1) + 1);
                }
                this.push(best);
            }
            // What comes of two rows beyond the limit is beyond it too.
            if this.iter().chain(last.iter()).all(|distance| *distance > limit) {
                return None;
            }
            std::mem::swap(before, last);
            std::mem::swap(last, this);
            previous = Some(letter);
        }
        last.last().copied().filter(|distance| *distance <= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let mut rows = Rows::default();
        let mut of = |a: &str, b: &str| {
            let mut distance = |limit| rows.distance(a.as_bytes(), b.as_bytes(), limit);
            let found = distance(99).unwrap();
            assert_eq!(distance(found), Some(found));
            assert_eq!(found.checked_sub(1).and_then(distance), None);
            found
        };
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
