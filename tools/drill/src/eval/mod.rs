//! Statements in `%{ … }%`: the part of Python that packet scripts are written in.
//!
//! Assignments, `assert`, `if` with `elif` and `else`, all operators and comparisons, numbers, strings, lists
//! and a few functions. `print` and `import` are read and have no effect. Variables live in an [`Env`], which
//! the blocks of a script share; other names are asked from the caller, and then from the constants of
//! `<netinet/tcp.h>`.

mod expr;
mod names;
mod number;
mod parse;
mod run;
mod token;
mod value;

use core::fmt;

pub use run::Env;
pub use value::Value;

/// The statements of one block.
#[derive(Clone, Debug)]
pub struct Program {
    statements: Vec<Statement>,
}

/// Why a block cannot be read, or what in it does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalError {
    /// The line within the block, from 0: to be added to the line of its `%{`.
    pub line: usize,
    /// What is wrong; for an `assert` with the values of what it compares.
    pub message: String,
}

impl EvalError {
    fn new(line: usize, message: impl Into<String>) -> EvalError {
        EvalError { line, message: message.into() }
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EvalError {}

/// A statement and the line it begins on.
#[derive(Clone, Debug)]
struct Statement {
    line: usize,
    kind: StatementKind,
}

#[derive(Clone, Debug)]
enum StatementKind {
    /// `a = b = 1`, and `a += 1` as `a = a + 1`.
    Assign(Vec<String>, expr::Expr),
    /// `assert condition, message`.
    Assert(expr::Operand, Option<expr::Expr>),
    /// Conditions with their blocks, then the block for when none holds.
    If(Vec<(expr::Expr, Vec<Statement>)>, Vec<Statement>),
    /// An expression for itself.
    Expr(expr::Expr),
}

impl Program {
    /// Reads the text of a block.
    pub fn parse(text: &str) -> Result<Program, EvalError> {
        let lines = token::lines(text)?;
        Ok(Program { statements: parse::statements(text, &lines)? })
    }

    /// Runs the statements in order, up to the first that fails. `lookup` knows names that are no variables.
    pub fn run(&self, env: &mut Env, lookup: &dyn Fn(&str) -> Option<Value>) -> Result<(), EvalError> {
        run::Run { env, lookup }.statements(&self.statements)
    }
}

#[cfg(test)]
mod tests;
