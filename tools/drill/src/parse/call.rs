//! Calls of the program: `0.1...0.2 write(4, ..., 1000) = -1 EPIPE (Broken pipe)`, and their expressions.

use super::time;
use crate::lexer::{Lexer, ParseError};
use crate::script::{BinaryOp, Call, Expr};

/// How deep an expression may nest.
const MAX_DEPTH: usize = 32;
/// How many operators of a kind may follow each other.
const MAX_OPERATORS: usize = 100;

/// A call, behind the time of its event.
pub(super) fn call(lexer: &mut Lexer<'_>) -> Result<Call, ParseError> {
    let blocks_until = time::blocks_until(lexer)?;
    let Some(name) = lexer.word() else { return Err(lexer.expected("a packet, a call, a command or code")) };
    lexer.expect("(")?;
    let args = list(lexer, ")", 0)?;
    lexer.expect("=")?;
    let result = result(lexer)?;
    let errno = lexer.word().map(str::to_owned);
    let note = if lexer.at("(") { Some(note(lexer)?) } else { None };
    Ok(Call { blocks_until, name: name.to_owned(), args, result, errno, note })
}

/// What a call answers. The next event's time may begin with `+` or `*`, so `|` is the only operator here;
/// a note may follow, so a name takes no arguments.
fn result(lexer: &mut Lexer<'_>) -> Result<Expr, ParseError> {
    let mut result = result_operand(lexer)?;
    let mut count = 0;
    while lexer.eat("|") {
        count += 1;
        if count > MAX_OPERATORS {
            return Err(lexer.error("this expression is too long"));
        }
        result = Expr::Binary(Box::new(result), BinaryOp::Or, Box::new(result_operand(lexer)?));
    }
    Ok(result)
}

fn result_operand(lexer: &mut Lexer<'_>) -> Result<Expr, ParseError> {
    match lexer.word() {
        Some(name) => Ok(Expr::Name(name.to_owned())),
        None => operand(lexer, 0),
    }
}

/// The note behind a result, without its parentheses.
fn note(lexer: &mut Lexer<'_>) -> Result<String, ParseError> {
    Ok(lexer.between("(", ")")?.trim().to_owned())
}

/// Expressions with commas between them, up to `close`.
fn list(lexer: &mut Lexer<'_>, close: &str, depth: usize) -> Result<Vec<Expr>, ParseError> {
    let mut items = Vec::new();
    while !lexer.eat(close) {
        if !items.is_empty() {
            if !lexer.eat(",") {
                return Err(lexer.expected(&format!("`,` or `{close}`")));
            }
            if lexer.eat(close) {
                break;
            }
        }
        items.push(expression(lexer, depth)?);
    }
    Ok(items)
}

/// The operators, loosest first.
const LEVELS: [&[(&str, BinaryOp)]; 5] = [
    &[("|", BinaryOp::Or)],
    &[("&", BinaryOp::And)],
    &[("<<", BinaryOp::Shl)],
    &[("+", BinaryOp::Add), ("-", BinaryOp::Sub)],
    &[("*", BinaryOp::Mul)],
];

fn expression(lexer: &mut Lexer<'_>, depth: usize) -> Result<Expr, ParseError> {
    if depth >= MAX_DEPTH {
        return Err(lexer.error("this expression is nested too deep"));
    }
    binary(lexer, 0, depth)
}

/// Operands with the operators of `level` and the tighter ones between them.
fn binary(lexer: &mut Lexer<'_>, level: usize, depth: usize) -> Result<Expr, ParseError> {
    let Some(operators) = LEVELS.get(level) else { return operand(lexer, depth) };
    let mut left = binary(lexer, level + 1, depth)?;
    let mut count = 0;
    while let Some(&(_, operator)) = operators.iter().find(|(sign, _)| lexer.eat(sign)) {
        count += 1;
        if count > MAX_OPERATORS {
            return Err(lexer.error("this expression is too long"));
        }
        let right = binary(lexer, level + 1, depth)?;
        left = Expr::Binary(Box::new(left), operator, Box::new(right));
    }
    Ok(left)
}

/// What has no operator on its outside.
fn operand(lexer: &mut Lexer<'_>, depth: usize) -> Result<Expr, ParseError> {
    match lexer.peek() {
        Some('[') => {
            lexer.expect("[")?;
            Ok(Expr::List(list(lexer, "]", depth + 1)?))
        }
        Some('{') => structure(lexer, depth),
        Some('"') => text(lexer),
        Some('(') => {
            lexer.expect("(")?;
            let inner = expression(lexer, depth + 1)?;
            lexer.expect(")")?;
            Ok(inner)
        }
        Some('~') => {
            lexer.expect("~")?;
            if depth >= MAX_DEPTH {
                return Err(lexer.error("this expression is nested too deep"));
            }
            Ok(Expr::Not(Box::new(operand(lexer, depth + 1)?)))
        }
        Some('.') if lexer.eat("...") => Ok(Expr::Ellipsis),
        Some('-' | '.' | '0'..='9') => number(lexer),
        _ => named(lexer, depth),
    }
}

/// A string. What a tracer writes of a longer one, `"text"...`, is its beginning.
fn text(lexer: &mut Lexer<'_>) -> Result<Expr, ParseError> {
    let text = lexer.string()?;
    lexer.eat("...");
    Ok(Expr::Text(text))
}

fn number(lexer: &mut Lexer<'_>) -> Result<Expr, ParseError> {
    let mut start = lexer.clone();
    let negative = lexer.eat("-");
    let mut ahead = lexer.clone();
    if let Some((whole, fraction)) = ahead.decimal()
        && !fraction.is_empty()
    {
        *lexer = ahead;
        let number = format!("{whole}.{fraction}").parse().unwrap_or(f64::INFINITY);
        return Ok(Expr::Float(if negative { -number } else { number }));
    }
    let number = lexer.unsigned("a number")?;
    let signed = i128::from(number) * if negative { -1 } else { 1 };
    i64::try_from(signed).map(Expr::Int).map_err(|_| start.error("a number out of range"))
}

/// A name, or a function of the preprocessor's kind: `htons(8080)`.
fn named(lexer: &mut Lexer<'_>, depth: usize) -> Result<Expr, ParseError> {
    let Some(name) = lexer.word() else { return Err(lexer.expected("an expression")) };
    if lexer.eat("(") {
        return Ok(Expr::Apply(name.to_owned(), list(lexer, ")", depth + 1)?));
    }
    Ok(Expr::Name(name.to_owned()))
}

/// `{fd=4, events=POLLOUT}`, `{..., 1000}`, `{msg_name(...)=..., msg_iov(1)=[{..., 10}]}`.
fn structure(lexer: &mut Lexer<'_>, depth: usize) -> Result<Expr, ParseError> {
    lexer.expect("{")?;
    let mut fields = Vec::new();
    while !lexer.eat("}") {
        if !fields.is_empty() {
            if !lexer.eat(",") {
                return Err(lexer.expected("`,` or `}`"));
            }
            if lexer.eat("}") {
                break;
            }
        }
        let name = field_name(lexer, depth)?;
        fields.push((name, expression(lexer, depth + 1)?));
    }
    Ok(Expr::Struct(fields))
}

/// The name of a field and its `=`, or nothing where a value stands there without one. The count of
/// `msg_iov(1)=` is what the list behind it shows anyway.
fn field_name(lexer: &mut Lexer<'_>, depth: usize) -> Result<String, ParseError> {
    let mut ahead = lexer.clone();
    let Some(name) = ahead.word() else { return Ok(String::new()) };
    if ahead.eat("(") {
        list(&mut ahead, ")", depth + 1)?;
    }
    if !ahead.eat("=") {
        return Ok(String::new());
    }
    *lexer = ahead;
    Ok(name.to_owned())
}
