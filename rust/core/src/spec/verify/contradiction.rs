//! Conditions that can never hold. In: a condition of the right form. Out: the first part that leaves nothing, and why.
//!
//! What must hold at once is gathered by expression: a range and a set for numbers, choices and prefixes for strings. An
//! alternative is impossible if each of its branches is, given what is known so far. The answer "possible" is no promise:
//! two expressions are never related to each other, so that this stays linear and says nothing wrong.

use std::collections::{BTreeSet, HashMap};

use super::expr::there;
use super::words::{compare, literal, say};
use crate::spec::{CompareOperator, Condition, Context, Expr, UnaryOperator};

/// The greatest errno that a kernel function returns (`MAX_ERRNO`).
const MAX_ERRNO: i128 = 4095;

/// A part that can't hold.
pub(super) struct Found {
    pub path: String,
    pub reason: String,
}

/// Finds a contradiction.
pub(super) fn find(condition: &Condition, path: &str) -> Option<Found> {
    Facts::default().check(condition, false, path)
}

/// What must hold of each expression.
#[derive(Default, Clone)]
struct Facts<'a> {
    ints: HashMap<&'a Expr, Fact<Ints>>,
    strings: HashMap<&'a Expr, Fact<Strings<'a>>>,
}

#[derive(Clone)]
struct Fact<T> {
    known: T,
    /// The conditions that it comes from, in the script's words.
    because: Vec<String>,
}

/// Alternatives, looked at once everything else is known.
struct Alternative<'a> {
    terms: &'a [Condition],
    negated: bool,
    path: String,
}

impl<'a> Facts<'a> {
    fn check(&mut self, condition: &'a Condition, negated: bool, path: &str) -> Option<Found> {
        let mut alternatives = Vec::new();
        if let Some(found) = self.assume(condition, negated, path, &mut alternatives) {
            return Some(found);
        }
        alternatives.iter().find_map(|alternative| self.no_branch(alternative))
    }

    /// The first reason, if every branch is impossible.
    fn no_branch(&self, alternative: &Alternative<'a>) -> Option<Found> {
        let mut first = None;
        for (index, term) in alternative.terms.iter().enumerate() {
            let path = format!("{}.terms[{index}]", alternative.path);
            let found = self.clone().check(term, alternative.negated, &path)?;
            first.get_or_insert(found);
        }
        first.map(|Found { reason, .. }| Found { path: alternative.path.clone(), reason })
    }

    fn assume(
        &mut self,
        condition: &'a Condition,
        negated: bool,
        path: &str,
        alternatives: &mut Vec<Alternative<'a>>,
    ) -> Option<Found> {
        let reason = match condition {
            Condition::Not { term } => return self.assume(term, !negated, &format!("{path}.term"), alternatives),
            Condition::And { terms } | Condition::Or { terms } => {
                if matches!(condition, Condition::And { .. }) == negated {
                    alternatives.push(Alternative { terms, negated, path: path.into() });
                    return None;
                }
                return terms.iter().enumerate().find_map(|(index, term)| {
                    self.assume(term, negated, &format!("{path}.terms[{index}]"), alternatives)
                });
            }
            Condition::Compare { operator, left, right } => {
                self.compare(if negated { opposite(*operator) } else { *operator }, left, right)
            }
            Condition::IsIn { value, choices } => {
                let said = format!("{}isin({}, …)", not(negated), say(value));
                self.int(value, said, |ints| ints.choose(choices, negated))
            }
            Condition::StringIn { value, choices } => {
                let said = match choices.as_slice() {
                    [one] => format!("{} {} {}", say(value), if negated { "!=" } else { "==" }, literal(one)),
                    _ => format!("{}isin({}, …)", not(negated), say(value)),
                };
                self.string(value, said, |strings| strings.choose(choices, negated))
            }
            Condition::StartsWith { value, prefix } => {
                let said = format!("{}startswith({}, {})", not(negated), say(value), literal(prefix));
                self.string(value, said, |strings| strings.begin(prefix, negated))
            }
        };
        reason.map(|reason| Found { path: path.into(), reason })
    }

    fn compare(&mut self, operator: CompareOperator, left: &'a Expr, right: &'a Expr) -> Option<String> {
        let said = format!("{} {} {}", say(left), compare(operator), say(right));
        match (constant(left), constant(right)) {
            (Some(left), Some(right)) => (!holds(operator, left, right)).then_some(said),
            (None, Some(right)) => self.int(left, said, |ints| ints.narrow(operator, right)),
            (Some(left), None) => self.int(right, said, |ints| ints.narrow(mirrored(operator), left)),
            (None, None) => (left == right && !holds(operator, 0, 0)).then_some(said),
        }
    }

    fn int(&mut self, expr: &'a Expr, said: String, narrow: impl FnOnce(&mut Ints)) -> Option<String> {
        let natural = Ints::of(expr);
        let fact = self.ints.entry(expr).or_insert_with(|| Fact { known: natural.clone(), because: Vec::new() });
        narrow(&mut fact.known);
        fact.because.push(said);
        fact.known.is_empty().then(|| {
            let range = format!("{} lies within {} … {}", say(expr), natural.low, natural.high);
            if fact.because.len() == 1 { format!("{} ({range})", fact.because[0]) } else { together(&fact.because) }
        })
    }

    fn string(&mut self, expr: &'a Expr, said: String, narrow: impl FnOnce(&mut Strings<'a>)) -> Option<String> {
        let fact = self.strings.entry(expr).or_insert_with(|| Fact { known: Strings::default(), because: Vec::new() });
        narrow(&mut fact.known);
        fact.because.push(said);
        fact.known.is_empty().then(|| together(&fact.because))
    }
}

/// The last condition and some of those that it contradicts.
fn together(because: &[String]) -> String {
    let shown = &because[because.len().saturating_sub(4)..];
    format!("{}{}", if shown.len() < because.len() { "… and " } else { "" }, shown.join(" and "))
}

fn not(negated: bool) -> &'static str {
    if negated { "~" } else { "" }
}

/// Numbers that are still possible.
#[derive(Clone)]
struct Ints {
    low: i128,
    high: i128,
    only: Option<BTreeSet<i128>>,
    except: BTreeSet<i128>,
}

impl Ints {
    /// What an expression can give.
    fn of(expr: &Expr) -> Self {
        let (low, high) = match there(expr) {
            Expr::Context { name } => match name {
                Context::Ret => (i64::MIN.into(), u64::MAX.into()),
                Context::Error => (0, MAX_ERRNO),
                Context::Pid | Context::Tid | Context::Ppid | Context::Uid | Context::Gid | Context::Cpu => {
                    (0, u32::MAX.into())
                }
                _ => (0, u64::MAX.into()),
            },
            _ => (i64::MIN.into(), u64::MAX.into()),
        };
        Self { low, high, only: None, except: BTreeSet::new() }
    }

    fn narrow(&mut self, operator: CompareOperator, value: i128) {
        match operator {
            CompareOperator::Equal => self.choose(&[value], false),
            CompareOperator::NotEqual => self.choose(&[value], true),
            CompareOperator::Less => self.high = self.high.min(value - 1),
            CompareOperator::LessEqual => self.high = self.high.min(value),
            CompareOperator::Greater => self.low = self.low.max(value + 1),
            CompareOperator::GreaterEqual => self.low = self.low.max(value),
        }
    }

    fn choose(&mut self, choices: &[i128], negated: bool) {
        if negated {
            self.except.extend(choices);
        } else {
            let is_possible = |choice: &i128| self.only.as_ref().is_none_or(|only| only.contains(choice));
            self.only = Some(choices.iter().copied().filter(is_possible).collect());
        }
    }

    fn is_empty(&self) -> bool {
        if self.low > self.high {
            return true;
        }
        let range = self.low..=self.high;
        match &self.only {
            Some(only) => !only.iter().any(|choice| range.contains(choice) && !self.except.contains(choice)),
            None => {
                let width = self.high - self.low + 1;
                width <= self.except.len() as i128 && width == self.except.range(range).count() as i128
            }
        }
    }
}

/// Strings that are still possible.
#[derive(Default, Clone)]
struct Strings<'a> {
    only: Option<BTreeSet<&'a [u8]>>,
    except: BTreeSet<&'a [u8]>,
    /// The longest prefix asked for: any other must be its beginning.
    prefix: &'a [u8],
    foreign: Vec<&'a [u8]>,
    /// Two prefixes contradict each other.
    torn: bool,
}

impl<'a> Strings<'a> {
    fn choose(&mut self, choices: &'a [Vec<u8>], negated: bool) {
        let choices = choices.iter().map(Vec::as_slice);
        if negated {
            self.except.extend(choices);
        } else {
            let is_possible = |choice: &&'a [u8]| self.only.as_ref().is_none_or(|only| only.contains(choice));
            self.only = Some(choices.filter(is_possible).collect());
        }
    }

    fn begin(&mut self, prefix: &'a [u8], negated: bool) {
        if negated {
            self.foreign.push(prefix);
            return;
        }
        let (long, short) =
            if prefix.len() > self.prefix.len() { (prefix, self.prefix) } else { (self.prefix, prefix) };
        self.torn |= !long.starts_with(short);
        self.prefix = long;
    }

    fn is_empty(&self) -> bool {
        let is_foreign = |text: &[u8]| self.foreign.iter().any(|prefix| text.starts_with(prefix));
        let is_possible =
            |choice: &&[u8]| choice.starts_with(self.prefix) && !self.except.contains(choice) && !is_foreign(choice);
        self.torn || is_foreign(self.prefix) || self.only.as_ref().is_some_and(|only| !only.iter().any(is_possible))
    }
}

/// A literal, a negated one included.
fn constant(expr: &Expr) -> Option<i128> {
    match expr {
        Expr::Int { value } => Some(*value),
        Expr::Unary { operator: UnaryOperator::Negate, operand } => match **operand {
            // Larger ones have no sign to change.
            Expr::Int { value } => i64::try_from(value).ok()?.checked_neg().map(i128::from),
            _ => None,
        },
        _ => None,
    }
}

fn holds(operator: CompareOperator, left: i128, right: i128) -> bool {
    match operator {
        CompareOperator::Equal => left == right,
        CompareOperator::NotEqual => left != right,
        CompareOperator::Less => left < right,
        CompareOperator::LessEqual => left <= right,
        CompareOperator::Greater => left > right,
        CompareOperator::GreaterEqual => left >= right,
    }
}

fn opposite(operator: CompareOperator) -> CompareOperator {
    match operator {
        CompareOperator::Equal => CompareOperator::NotEqual,
        CompareOperator::NotEqual => CompareOperator::Equal,
        CompareOperator::Less => CompareOperator::GreaterEqual,
        CompareOperator::LessEqual => CompareOperator::Greater,
        CompareOperator::Greater => CompareOperator::LessEqual,
        CompareOperator::GreaterEqual => CompareOperator::Less,
    }
}

fn mirrored(operator: CompareOperator) -> CompareOperator {
    match operator {
        CompareOperator::Less => CompareOperator::Greater,
        CompareOperator::LessEqual => CompareOperator::GreaterEqual,
        CompareOperator::Greater => CompareOperator::Less,
        CompareOperator::GreaterEqual => CompareOperator::LessEqual,
        same => same,
    }
}
