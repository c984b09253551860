//! What statements and expressions do.

use std::collections::BTreeMap;

use super::expr::{Binary, Comparison, Expr, Operand, Unary};
use super::names::constant;
use super::{EvalError, Statement, StatementKind, Value};

/// The variables of a script, which its blocks share.
#[derive(Clone, Debug, Default)]
pub struct Env {
    variables: BTreeMap<String, Value>,
}

impl Env {
    /// No variables.
    pub fn new() -> Env {
        Env::default()
    }

    /// The variable called `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.variables.get(name)
    }

    /// Gives the variable called `name` a value.
    pub fn set(&mut self, name: &str, value: Value) {
        self.variables.insert(name.to_owned(), value);
    }
}

/// One run of a block.
pub(super) struct Run<'a> {
    pub(super) env: &'a mut Env,
    pub(super) lookup: &'a dyn Fn(&str) -> Option<Value>,
}

/// A value, or why there is none.
type Outcome = Result<Value, String>;

impl Run<'_> {
    pub(super) fn statements(&mut self, statements: &[Statement]) -> Result<(), EvalError> {
        for Statement { line, kind } in statements {
            let fails = |message| EvalError::new(*line, message);
            match kind {
                StatementKind::Assign(targets, expr) => {
                    let value = self.value(expr).map_err(fails)?;
                    for target in targets {
                        self.env.set(target, value.clone());
                    }
                }
                StatementKind::Assert(condition, message) => {
                    self.assert(condition, message.as_ref()).map_err(fails)?;
                }
                StatementKind::If(branches, otherwise) => {
                    let mut taken = otherwise;
                    for (condition, block) in branches {
                        if self.value(condition).map_err(fails)?.truth() {
                            taken = block;
                            break;
                        }
                    }
                    self.statements(taken)?;
                }
                StatementKind::Expr(expr) => {
                    self.value(expr).map_err(fails)?;
                }
            }
        }
        Ok(())
    }

    /// Fails with the values of what `condition` compares, and with the message's.
    fn assert(&self, condition: &Operand, message: Option<&Expr>) -> Result<(), String> {
        if self.value(&condition.expr)?.truth() {
            return Ok(());
        }
        let mut error = format!("assert {} does not hold", condition.text);
        let mut shown = Vec::new();
        self.show(&condition.expr, &mut shown);
        for (place, (text, value)) in shown.iter().enumerate() {
            let sign = if place == 0 { ": " } else { ", " };
            error.extend([sign, text, " is ", value]);
        }
        // The message most often is the value that was compared.
        if let Some(message) =
            message.and_then(|message| self.value(message).ok()).map(|value| value.to_string())
            && !shown.iter().any(|(_, value)| *value == message)
        {
            error.extend([" (", &message, ")"]);
        }
        Err(error)
    }

    /// Adds what is worth showing of `expr`: operands of comparisons, and names, with their values.
    fn show(&self, expr: &Expr, shown: &mut Vec<(String, String)>) {
        match expr {
            Expr::Name(name) => self.show_value(expr, name, shown),
            Expr::Compare(first, rest) => {
                for operand in core::iter::once(&**first).chain(rest.iter().map(|(_, operand)| operand)) {
                    if !matches!(operand.expr, Expr::Name(_)) {
                        self.show_value(&operand.expr, &operand.text, shown);
                    }
                    self.show(&operand.expr, shown);
                }
            }
            Expr::Unary(_, inner) => self.show(inner, shown),
            Expr::Binary(left, _, right)
            | Expr::And(left, right)
            | Expr::Or(left, right)
            | Expr::Index(left, right) => {
                self.show(left, shown);
                self.show(right, shown);
            }
            Expr::Choice { condition, then, otherwise } => {
                for part in [condition, then, otherwise] {
                    self.show(part, shown);
                }
            }
            Expr::Call(_, items) | Expr::List(items) => items.iter().for_each(|item| self.show(item, shown)),
            Expr::Int(_) | Expr::Float(_) | Expr::Text(_) => {}
        }
    }

    fn show_value(&self, expr: &Expr, text: &str, shown: &mut Vec<(String, String)>) {
        let value =
            self.value(expr).map_or_else(|error| format!("unknown ({error})"), |value| value.to_string());
        if value != text && !shown.iter().any(|(known, _)| known == text) {
            shown.push((text.to_owned(), value));
        }
    }

    fn value(&self, expr: &Expr) -> Outcome {
        match expr {
            Expr::Int(number) => Ok(Value::Int(*number)),
            Expr::Float(number) => Ok(Value::Float(*number)),
            Expr::Text(text) => Ok(Value::Text(text.clone())),
            Expr::Name(name) => self.name(name),
            Expr::List(items) => Ok(Value::List(self.values(items)?)),
            Expr::Unary(operator, operand) => unary(*operator, &self.value(operand)?),
            Expr::Binary(left, operator, right) => binary(&self.value(left)?, *operator, &self.value(right)?),
            Expr::Compare(first, rest) => self.comparison(first, rest),
            Expr::And(left, right) => {
                let left = self.value(left)?;
                if left.truth() { self.value(right) } else { Ok(left) }
            }
            Expr::Or(left, right) => {
                let left = self.value(left)?;
                if left.truth() { Ok(left) } else { self.value(right) }
            }
            Expr::Choice { condition, then, otherwise } => {
                self.value(if self.value(condition)?.truth() { then } else { otherwise })
            }
            Expr::Call(name, items) => call(name, &self.values(items)?),
            Expr::Index(items, index) => index_of(&self.value(items)?, &self.value(index)?),
        }
    }

    fn values(&self, exprs: &[Expr]) -> Result<Vec<Value>, String> {
        exprs.iter().map(|expr| self.value(expr)).collect()
    }

    fn name(&self, name: &str) -> Outcome {
        let builtin = || match name {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            "None" => Some(Value::None),
            _ => None,
        };
        builtin()
            .or_else(|| self.env.get(name).cloned())
            .or_else(|| (self.lookup)(name))
            .or_else(|| constant(name).map(Value::Int))
            .ok_or_else(|| format!("the name `{name}` is not known"))
    }

    fn comparison(&self, first: &Operand, rest: &[(Comparison, Operand)]) -> Outcome {
        let mut left = self.value(&first.expr)?;
        for (comparison, operand) in rest {
            let right = self.value(&operand.expr)?;
            if !compare(&left, *comparison, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }
}

fn compare(left: &Value, comparison: Comparison, right: &Value) -> Result<bool, String> {
    let order = || {
        let message = || format!("{} and {} have no order", left.kind(), right.kind());
        // A float that is no number is neither less nor greater, and no error.
        let numbers = left.float().is_some() && right.float().is_some();
        match left.order(right) {
            None if !numbers => Err(message()),
            order => Ok(order),
        }
    };
    let within = || match (left, right) {
        (Value::Text(part), Value::Text(text)) => Ok(text.contains(part.as_str())),
        (_, Value::List(items)) => Ok(items.iter().any(|item| item.equals(left))),
        _ => Err(format!("nothing is in {}", right.kind())),
    };
    Ok(match comparison {
        Comparison::Equal => left.equals(right),
        Comparison::NotEqual => !left.equals(right),
        Comparison::Less => order()?.is_some_and(core::cmp::Ordering::is_lt),
        Comparison::LessEqual => order()?.is_some_and(core::cmp::Ordering::is_le),
        Comparison::Greater => order()?.is_some_and(core::cmp::Ordering::is_gt),
        Comparison::GreaterEqual => order()?.is_some_and(core::cmp::Ordering::is_ge),
        Comparison::In => within()?,
        Comparison::NotIn => !within()?,
    })
}

fn unary(operator: Unary, operand: &Value) -> Outcome {
    let value = match (operator, operand) {
        (Unary::Not, value) => Some(Value::Bool(!value.truth())),
        (Unary::Minus, Value::Float(number)) => Some(Value::Float(-number)),
        (Unary::Plus, Value::Float(number)) => Some(Value::Float(*number)),
        (Unary::Minus, value) => value.int().and_then(i128::checked_neg).map(Value::Int),
        (Unary::Plus, value) => value.int().map(Value::Int),
        (Unary::Invert, value) => value.int().map(|number| Value::Int(!number)),
    };
    value.ok_or_else(|| format!("no such operator on {}", operand.kind()))
}

fn binary(left: &Value, operator: Binary, right: &Value) -> Outcome {
    match (left, operator, right) {
        (Value::Text(format), Binary::Rem, _) => return formatted(format, right).map(Value::Text),
        (Value::Text(left), Binary::Add, Value::Text(right)) => {
            return Ok(Value::Text(format!("{left}{right}")));
        }
        (Value::List(left), Binary::Add, Value::List(right)) => {
            return Ok(Value::List([&left[..], right].concat()));
        }
        _ => {}
    }
    if let (Some(left), Some(right)) = (left.int(), right.int())
        && operator != Binary::Div
    {
        return whole(left, operator, right);
    }
    match (left.float(), right.float()) {
        (Some(left), Some(right)) => fraction(left, operator, right),
        _ => Err(format!("no such operator on {} and {}", left.kind(), right.kind())),
    }
}

/// Operators on whole numbers. Division rounds down, and the rest has the divisor's sign, as in Python.
fn whole(left: i128, operator: Binary, right: i128) -> Outcome {
    const OVERFLOW: &str = "a number out of range";
    let shift = || u32::try_from(right).map_err(|_| "a shift out of range");
    if matches!(operator, Binary::FloorDiv | Binary::Rem) && right == 0 {
        return Err("division by zero".to_owned());
    }
    let rest = || {
        left.checked_rem(right)
            .map(|rest| if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest })
    };
    let result = match operator {
        Binary::Or => Some(left | right),
        Binary::Xor => Some(left ^ right),
        Binary::And => Some(left & right),
        Binary::ShiftLeft => {
            let factor = 1i128.checked_shl(shift()?).filter(|factor| *factor > 0);
            factor.and_then(|factor| left.checked_mul(factor))
        }
        Binary::ShiftRight => Some(left.checked_shr(shift()?).unwrap_or(if left < 0 { -1 } else { 0 })),
        Binary::Add => left.checked_add(right),
        Binary::Sub => left.checked_sub(right),
        Binary::Mul => left.checked_mul(right),
        Binary::Rem => rest(),
        Binary::FloorDiv => rest().and_then(|rest| left.checked_sub(rest)?.checked_div(right)),
        Binary::Pow if right < 0 => return fraction(left as f64, operator, right as f64),
        Binary::Pow => u32::try_from(right).ok().and_then(|power| left.checked_pow(power)),
        Binary::Div => return fraction(left as f64, operator, right as f64),
    };
    result.map(Value::Int).ok_or_else(|| OVERFLOW.to_owned())
}

/// Operators on floats.
fn fraction(left: f64, operator: Binary, right: f64) -> Outcome {
    if matches!(operator, Binary::Div | Binary::FloorDiv | Binary::Rem) && right == 0.0 {
        return Err("division by zero".to_owned());
    }
    Ok(Value::Float(match operator {
        Binary::Add => left + right,
        Binary::Sub => left - right,
        Binary::Mul => left * right,
        Binary::Div => left / right,
        Binary::FloorDiv => (left / right).floor(),
        Binary::Rem => left - right * (left / right).floor(),
        Binary::Pow => left.powf(right),
        _ => return Err("operators on bits take whole numbers".to_owned()),
    }))
}

/// The functions.
fn call(name: &str, items: &[Value]) -> Outcome {
    let extreme = |wanted: core::cmp::Ordering| {
        let items = if let [Value::List(items)] = items { items } else { items };
        let mut best = items.first().ok_or_else(|| format!("{name} of nothing"))?;
        for item in items {
            match item.order(best) {
                Some(order) if order == wanted => best = item,
                Some(_) => {}
                None => return Err(format!("{} and {} have no order", item.kind(), best.kind())),
            }
        }
        Ok(best.clone())
    };
    match (name, items) {
        ("min", _) => extreme(core::cmp::Ordering::Less),
        ("max", _) => extreme(core::cmp::Ordering::Greater),
        ("abs", [Value::Float(number)]) => Ok(Value::Float(number.abs())),
        ("abs", [value]) => match value.int().and_then(i128::checked_abs) {
            Some(number) => Ok(Value::Int(number)),
            None => Err(format!("abs of {}", value.kind())),
        },
        ("int", [Value::Text(text)]) => {
            text.trim().parse().map(Value::Int).map_err(|_| format!("int of the string `{text}`"))
        }
        ("float", [Value::Text(text)]) => {
            text.trim().parse().map(Value::Float).map_err(|_| format!("float of the string `{text}`"))
        }
        ("int", [value]) if value.int().is_some() => Ok(Value::Int(value.int().unwrap_or_default())),
        ("int" | "round", [value]) => {
            let number = value.float().filter(|number| number.abs() < 1e30);
            let Some(number) = number else { return Err(format!("{name} of {value}")) };
            Ok(Value::Int(if name == "int" { number as i128 } else { number.round_ties_even() as i128 }))
        }
        ("float", [value]) => {
            value.float().map(Value::Float).ok_or_else(|| format!("float of {}", value.kind()))
        }
        ("bool", [value]) => Ok(Value::Bool(value.truth())),
        ("str", [value]) => Ok(Value::Text(value.to_string())),
        ("len", [Value::List(items)]) => Ok(Value::Int(items.len() as i128)),
        ("len", [Value::Text(text)]) => Ok(Value::Int(text.chars().count() as i128)),
        _ => Err(format!("no function `{name}` of {} values", items.len())),
    }
}

fn index_of(items: &Value, index: &Value) -> Outcome {
    let (Value::List(items), Some(index)) = (items, index.int()) else {
        return Err(format!("{} has no place {index}", items.kind()));
    };
    let place = if index < 0 { index + items.len() as i128 } else { index };
    let item = usize::try_from(place).ok().and_then(|place| items.get(place));
    item.cloned().ok_or_else(|| format!("no place {index} in a list of {}", items.len()))
}

/// `format % values`: `%d`, `%u`, `%s`, `%f`, `%x` and the like; widths and precisions are passed over.
fn formatted(format: &str, values: &Value) -> Result<String, String> {
    let mut values =
        if let Value::List(items) = values { items.iter() } else { core::slice::from_ref(values).iter() };
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, behind)) = rest.split_once('%') {
        text.push_str(before);
        let end =
            behind.find(|c: char| c.is_ascii_alphabetic() || c == '%').ok_or("a `%` without its letter")?;
        let letter = &behind[end..=end];
        rest = &behind[end + 1..];
        if letter == "%" {
            text.push('%');
            continue;
        }
        let value = values.next().ok_or("too few values for this format")?;
        match (letter, value.int()) {
            ("x", Some(number)) => text.extend([format!("{number:x}")]),
            ("d" | "i" | "u", None) => text.extend([call("int", core::slice::from_ref(value))?.to_string()]),
            _ => text.extend([value.to_string()]),
        }
    }
    text.push_str(rest);
    Ok(text)
}
