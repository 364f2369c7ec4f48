//! `where=`. In: a [`Condition`]. Out: jumps to where it is true, where it is false, and where a read faulted.
//!
//! Conditions have no values: each is told its two exits and what joins them is never computed. A fault has an exit of
//! its own, past every `not`, for a condition that can't be evaluated doesn't hold.

use spile_core::error::Error;
use spile_core::spec::{CompareOperator, Condition, Expr};

use super::super::ir::{Block, Cmp, Operand};
use super::super::{Ledger, names};
use super::Build;
use super::context::exprs_of;
use super::int::Int;
use super::string::Wanted;

/// Where a condition leads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exits {
    pub yes: Block,
    pub no: Block,
    pub fault: Block,
}

/// Whether a condition needs more than a number's room on the stack.
pub(super) fn reads_strings(condition: &Condition) -> bool {
    match condition {
        Condition::Compare { .. } | Condition::IsIn { .. } => false,
        Condition::StringIn { .. } | Condition::StartsWith { .. } => true,
        Condition::And { terms } | Condition::Or { terms } => terms.iter().any(reads_strings),
        Condition::Not { term } => reads_strings(term),
    }
}

impl Build<'_> {
    /// Goes on only where the condition of this probe holds.
    pub(super) fn decide(&mut self, condition: Option<&Condition>, probe: u32) -> Result<(), Error> {
        let Some(condition) = condition else {
            return Ok(());
        };
        let before = std::mem::replace(&mut self.place, format!("probes[{probe}].where"));
        self.share_among(exprs_of(condition).into_iter());
        self.prepare_strings(condition);
        let (yes, no, fault) = (self.f.block(), self.fate(Ledger::Filtered), self.fate(Ledger::Faulted));
        self.condition(condition, Exits { yes, no, fault })?;
        self.f.begin(yes);
        self.place = before;
        Ok(())
    }

    fn condition(&mut self, condition: &Condition, exits: Exits) -> Result<(), Error> {
        match condition {
            Condition::Compare { operator, left, right } => self.compare(*operator, left, right, exits),
            Condition::IsIn { value, choices } => self.is_in(value, choices, exits),
            Condition::StringIn { value, choices } => {
                if let Some(values) = names::values(value, choices, self.request.fields)? {
                    return self.is_in(value, &values, exits);
                }
                let wanted: Vec<Wanted<'_>> = choices.iter().map(|choice| Wanted::Whole(choice)).collect();
                self.string_is(value, &wanted, exits)
            }
            Condition::StartsWith { value, prefix } => self.string_is(value, &[Wanted::Prefix(prefix)], exits),
            Condition::Not { term } => self.condition(term, Exits { yes: exits.no, no: exits.yes, ..exits }),
            Condition::And { terms } => self.chain(terms, exits.yes, |next| Exits { yes: next, ..exits }),
            Condition::Or { terms } => self.chain(terms, exits.no, |next| Exits { no: next, ..exits }),
        }
    }

    /// Terms one after another: `exits` tells where each leads, given where it goes on; the last goes on to `end`.
    fn chain(&mut self, terms: &[Condition], end: Block, exits: impl Fn(Block) -> Exits) -> Result<(), Error> {
        for (index, term) in terms.iter().enumerate() {
            let is_last = index + 1 == terms.len();
            let next = if is_last { end } else { self.f.block() };
            self.condition(term, exits(next))?;
            if !is_last {
                self.f.begin(next);
            }
        }
        if terms.is_empty() {
            self.f.jump(end);
        }
        Ok(())
    }

    fn compare(&mut self, operator: CompareOperator, left: &Expr, right: &Expr, exits: Exits) -> Result<(), Error> {
        let left = self.number(left, exits.fault)?;
        let right = self.number(right, exits.fault)?;
        self.compare_ints(operator, left, right, exits);
        Ok(())
    }

    fn is_in(&mut self, value: &Expr, choices: &[i128], exits: Exits) -> Result<(), Error> {
        let value = self.number(value, exits.fault)?;
        for choice in choices {
            let Some(choice) = Int::literal(*choice) else {
                return self.refuse(format!("{choice} does not fit 64 bits"));
            };
            let next = self.f.block();
            self.compare_ints(CompareOperator::Equal, value, choice, Exits { no: next, ..exits });
            self.f.begin(next);
        }
        self.f.jump(exits.no);
        Ok(())
    }

    fn number(&mut self, expr: &Expr, fault: Block) -> Result<Int, Error> {
        if names_probe(expr) {
            return self.refuse("probe_name is the same for every event of a target: it can't decide anything");
        }
        self.int(expr, fault)
    }

    /// Compares as numbers, whatever their types: -1 is less than every unsigned number.
    fn compare_ints(&mut self, operator: CompareOperator, left: Int, right: Int, exits: Exits) {
        if let (Operand::Imm(_), Operand::Reg(_)) = (left.operand, right.operand) {
            return self.compare_ints(mirrored(operator), right, left, exits);
        }
        let is_unsigned = left.is_u64() || right.is_u64();
        if is_unsigned {
            // An unsigned comparison is right once the other side is known to be no less than 0.
            for (side, other, when_less) in [(left, right, true), (right, left, false)] {
                if other.is_u64() && !side.is_u64() && !side.is_natural() {
                    let known = if holds(operator, when_less) { exits.yes } else { exits.no };
                    match side.operand {
                        Operand::Imm(_) => return self.f.jump(known),
                        Operand::Reg(reg) => self.f.leave_if(Cmp::LtS, reg, 0, known),
                    }
                }
            }
        }
        let cmp = match (operator, is_unsigned) {
            (CompareOperator::Equal, _) => Cmp::Eq,
            (CompareOperator::NotEqual, _) => Cmp::Ne,
            (CompareOperator::Less, true) => Cmp::LtU,
            (CompareOperator::LessEqual, true) => Cmp::LeU,
            (CompareOperator::Greater, true) => Cmp::GtU,
            (CompareOperator::GreaterEqual, true) => Cmp::GeU,
            (CompareOperator::Less, false) => Cmp::LtS,
            (CompareOperator::LessEqual, false) => Cmp::LeS,
            (CompareOperator::Greater, false) => Cmp::GtS,
            (CompareOperator::GreaterEqual, false) => Cmp::GeS,
        };
        let left = self.in_reg(left);
        self.f.branch(cmp, left, right.operand, exits.yes, exits.no);
    }
}

/// Whether `left operator right` holds where one of them is known to be the lesser.
fn holds(operator: CompareOperator, left_is_less: bool) -> bool {
    match operator {
        CompareOperator::Equal => false,
        CompareOperator::NotEqual => true,
        CompareOperator::Less | CompareOperator::LessEqual => left_is_less,
        CompareOperator::Greater | CompareOperator::GreaterEqual => !left_is_less,
    }
}

fn mirrored(operator: CompareOperator) -> CompareOperator {
    match operator {
        CompareOperator::Equal => CompareOperator::Equal,
        CompareOperator::NotEqual => CompareOperator::NotEqual,
        CompareOperator::Less => CompareOperator::Greater,
        CompareOperator::LessEqual => CompareOperator::GreaterEqual,
        CompareOperator::Greater => CompareOperator::Less,
        CompareOperator::GreaterEqual => CompareOperator::LessEqual,
    }
}

fn names_probe(expr: &Expr) -> bool {
    match expr {
        Expr::Context { name } => *name == spile_core::spec::Context::ProbeName,
        Expr::Binary { left, right, .. } => names_probe(left) || names_probe(right),
        Expr::Unary { operand: inner, .. } | Expr::String { pointer: inner, .. } | Expr::AtStart { value: inner } => {
            names_probe(inner)
        }
        Expr::Field { .. } | Expr::Stack { .. } | Expr::Int { .. } => false,
    }
}
