//! From tokens to statements.

use super::expr::{Binary, Comparison, Expr, Operand, Unary};
use super::token::{Kind, Line, Token};
use super::{EvalError, Statement, StatementKind};

/// How deep expressions and blocks may nest.
const MAX_DEPTH: usize = 24;
/// How many tokens a line may hold: a chain of operators is as deep a tree as it is long.
const MAX_TOKENS: usize = 1000;

/// The statements that `lines` of `text` hold.
pub(super) fn statements<'a>(text: &'a str, mut lines: &'a [Line]) -> Result<Vec<Statement>, EvalError> {
    let mut statements = Vec::new();
    while let Some((line, rest)) = lines.split_first() {
        lines = logical_line(text, line, rest, 0, &mut statements)?;
    }
    Ok(statements)
}

/// Reads `line` and, after an `if`, those of `rest` that belong to it; says which are left.
fn logical_line<'a>(
    text: &'a str,
    line: &'a Line,
    rest: &'a [Line],
    depth: usize,
    statements: &mut Vec<Statement>,
) -> Result<&'a [Line], EvalError> {
    let mut parser = Parser { text, tokens: &line.tokens, at: 0, depth: 0 };
    let number = parser.line();
    if line.tokens.len() > MAX_TOKENS {
        return Err(EvalError::new(number, "this line is too long"));
    }
    if depth >= MAX_DEPTH {
        return Err(EvalError::new(number, "these blocks are nested too deep"));
    }
    if parser.eat_name("if") {
        let branches = Branches { text, indent: line.indent, depth };
        let (kind, rest) = branches.read(parser, rest)?;
        statements.push(Statement { line: number, kind });
        return Ok(rest);
    }
    parser.simple_statements(statements)?;
    Ok(rest)
}

/// The branches of an `if`.
struct Branches<'a> {
    text: &'a str,
    indent: usize,
    depth: usize,
}

impl<'a> Branches<'a> {
    /// Reads from behind the `if` on.
    fn read(
        &self,
        mut parser: Parser<'a>,
        mut rest: &'a [Line],
    ) -> Result<(StatementKind, &'a [Line]), EvalError> {
        let mut branches = Vec::new();
        loop {
            let condition = parser.expression()?;
            let (block, behind) = self.block(parser, rest)?;
            branches.push((condition, block));
            rest = behind;
            let Some((line, behind)) = rest.split_first().filter(|(line, _)| line.indent == self.indent)
            else {
                break;
            };
            parser = Parser { text: self.text, tokens: &line.tokens, at: 0, depth: 0 };
            if parser.eat_name("else") {
                let (block, rest) = self.block(parser, behind)?;
                return Ok((StatementKind::If(branches, block), rest));
            }
            if !parser.eat_name("elif") {
                break;
            }
            rest = behind;
        }
        Ok((StatementKind::If(branches, Vec::new()), rest))
    }

    /// The statements behind a `:`, on its line or on deeper ones.
    fn block(
        &self,
        mut parser: Parser<'a>,
        mut rest: &'a [Line],
    ) -> Result<(Vec<Statement>, &'a [Line]), EvalError> {
        parser.expect(":")?;
        let mut statements = Vec::new();
        if parser.peek().is_some() {
            parser.simple_statements(&mut statements)?;
            return Ok((statements, rest));
        }
        while let Some((line, behind)) = rest.split_first().filter(|(line, _)| line.indent > self.indent) {
            rest = logical_line(self.text, line, behind, self.depth + 1, &mut statements)?;
        }
        if statements.is_empty() {
            Err(parser.error("a block without statements"))
        } else {
            Ok((statements, rest))
        }
    }
}

/// A place in the tokens of a logical line.
struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

/// The binary operators, loosest first.
const LEVELS: [&[(&str, Binary)]; 6] = [
    &[("|", Binary::Or)],
    &[("^", Binary::Xor)],
    &[("&", Binary::And)],
    &[("<<", Binary::ShiftLeft), (">>", Binary::ShiftRight)],
    &[("+", Binary::Add), ("-", Binary::Sub)],
    &[("*", Binary::Mul), ("/", Binary::Div), ("//", Binary::FloorDiv), ("%", Binary::Rem)],
];

/// Words that are no names of values.
const KEYWORDS: [&str; 14] = [
    "and", "assert", "def", "elif", "else", "for", "if", "import", "in", "is", "lambda", "not", "or", "while",
];

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    /// The line of the next token, or of the last.
    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |token| token.line)
    }

    fn error(&self, message: impl Into<String>) -> EvalError {
        EvalError::new(self.line(), message)
    }

    fn expected(&self, what: &str) -> EvalError {
        let found = self
            .tokens
            .get(self.at)
            .map_or("the end of the line", |token| &self.text[token.start..token.end]);
        self.error(format!("expected {what}, found `{found}`"))
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Kind::Sign(next)) if *next == sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), EvalError> {
        if self.eat(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }

    fn eat_name(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Kind::Name(next)) if next == word);
        self.at += usize::from(found);
        found
    }

    /// Statements with semicolons between them, to the end of the line.
    fn simple_statements(&mut self, statements: &mut Vec<Statement>) -> Result<(), EvalError> {
        while self.peek().is_some() {
            if self.eat(";") {
                continue;
            }
            let line = self.line();
            if let Some(kind) = self.statement()? {
                statements.push(Statement { line, kind });
            }
            if self.peek().is_some() {
                self.expect(";")?;
            }
        }
        Ok(())
    }

    /// A statement, or nothing for one without an effect.
    fn statement(&mut self) -> Result<Option<StatementKind>, EvalError> {
        if self.eat_name("assert") {
            let condition = self.operand(Self::expression)?;
            let message = if self.eat(",") { Some(self.expression()?) } else { None };
            return Ok(Some(StatementKind::Assert(condition, message)));
        }
        if ["pass", "print", "import", "from"].iter().any(|word| self.eat_name(word)) {
            while !matches!(self.peek(), None | Some(Kind::Sign(";"))) {
                self.at += 1;
            }
            return Ok(None);
        }
        if let Some(assignment) = self.assignment()? {
            return Ok(Some(assignment));
        }
        Ok(Some(StatementKind::Expr(self.expression()?)))
    }

    /// `a = b = 1`, `a += 1`.
    fn assignment(&mut self) -> Result<Option<StatementKind>, EvalError> {
        const AUGMENTED: [(&str, Binary); 12] = [
            ("+=", Binary::Add),
            ("-=", Binary::Sub),
            ("*=", Binary::Mul),
            ("/=", Binary::Div),
            ("//=", Binary::FloorDiv),
            ("%=", Binary::Rem),
            ("**=", Binary::Pow),
            ("|=", Binary::Or),
            ("&=", Binary::And),
            ("^=", Binary::Xor),
            ("<<=", Binary::ShiftLeft),
            (">>=", Binary::ShiftRight),
        ];
        let mut targets = Vec::new();
        while let (Some(Kind::Name(name)), Some(Kind::Sign(sign))) =
            (self.peek(), self.tokens.get(self.at + 1).map(|token| &token.kind))
        {
            if *sign == "=" {
                targets.push(name.clone());
                self.at += 2;
                continue;
            }
            if let Some(&(_, operator)) = AUGMENTED.iter().find(|(augmented, _)| augmented == sign)
                && targets.is_empty()
            {
                self.at += 2;
                let value = self.expression()?;
                let sum = Expr::Binary(Box::new(Expr::Name(name.clone())), operator, Box::new(value));
                return Ok(Some(StatementKind::Assign(vec![name.clone()], sum)));
            }
            break;
        }
        if targets.is_empty() {
            return Ok(None);
        }
        Ok(Some(StatementKind::Assign(targets, self.expression()?)))
    }

    /// What `read` reads, with its text.
    fn operand(&mut self, read: fn(&mut Self) -> Result<Expr, EvalError>) -> Result<Operand, EvalError> {
        let first = self.at;
        let expr = read(self)?;
        let span = self.tokens.get(first).zip(self.tokens.get(self.at.saturating_sub(1)));
        let text = span.map_or("", |(first, last)| &self.text[first.start..last.end]);
        Ok(Operand { expr, text: text.split_whitespace().collect::<Vec<_>>().join(" ") })
    }

    fn expression(&mut self) -> Result<Expr, EvalError> {
        self.deeper(|parser| {
            let then = parser.disjunction()?;
            if !parser.eat_name("if") {
                return Ok(then);
            }
            let condition = parser.disjunction()?;
            if !parser.eat_name("else") {
                return Err(parser.expected("`else`"));
            }
            let otherwise = parser.expression()?;
            Ok(Expr::Choice { condition: condition.into(), then: then.into(), otherwise: otherwise.into() })
        })
    }

    /// Runs `read` one level deeper, within bounds.
    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Result<Expr, EvalError>) -> Result<Expr, EvalError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error("this expression is nested too deep"));
        }
        self.depth += 1;
        let expr = read(self);
        self.depth -= 1;
        expr
    }

    fn disjunction(&mut self) -> Result<Expr, EvalError> {
        let mut left = self.conjunction()?;
        while self.eat_name("or") {
            left = Expr::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expr, EvalError> {
        let mut left = self.negation()?;
        while self.eat_name("and") {
            left = Expr::And(Box::new(left), Box::new(self.negation()?));
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Expr, EvalError> {
        if self.eat_name("not") {
            return self.deeper(|parser| Ok(Expr::Unary(Unary::Not, Box::new(parser.negation()?))));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr, EvalError> {
        let first = self.operand(|parser| parser.binary(0))?;
        let mut rest = Vec::new();
        while let Some(comparison) = self.comparison_sign() {
            rest.push((comparison, self.operand(|parser| parser.binary(0))?));
        }
        Ok(if rest.is_empty() { first.expr } else { Expr::Compare(Box::new(first), rest) })
    }

    fn comparison_sign(&mut self) -> Option<Comparison> {
        const SIGNS: [(&str, Comparison); 7] = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<>", Comparison::NotEqual),
            ("<", Comparison::Less),
            ("<=", Comparison::LessEqual),
            (">", Comparison::Greater),
            (">=", Comparison::GreaterEqual),
        ];
        if let Some(&(_, comparison)) = SIGNS.iter().find(|(sign, _)| self.eat(sign)) {
            return Some(comparison);
        }
        if self.eat_name("in") {
            return Some(Comparison::In);
        }
        if self.eat_name("is") {
            return Some(if self.eat_name("not") { Comparison::NotEqual } else { Comparison::Equal });
        }
        let not_in = matches!(self.tokens.get(self.at + 1), Some(Token { kind: Kind::Name(word), .. }) if word == "in");
        if not_in && self.eat_name("not") {
            self.at += 1;
            return Some(Comparison::NotIn);
        }
        None
    }

    fn binary(&mut self, level: usize) -> Result<Expr, EvalError> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some(&(_, operator)) = operators.iter().find(|(sign, _)| self.eat(sign)) {
            left = Expr::Binary(Box::new(left), operator, Box::new(self.binary(level + 1)?));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, EvalError> {
        for (sign, operator) in [("-", Unary::Minus), ("+", Unary::Plus), ("~", Unary::Invert)] {
            if self.eat(sign) {
                return self.deeper(|parser| Ok(Expr::Unary(operator, Box::new(parser.unary()?))));
            }
        }
        let base = self.postfix()?;
        if self.eat("**") {
            return self
                .deeper(|parser| Ok(Expr::Binary(Box::new(base), Binary::Pow, Box::new(parser.unary()?))));
        }
        Ok(base)
    }

    fn postfix(&mut self) -> Result<Expr, EvalError> {
        let mut expr = self.atom()?;
        while self.eat("[") {
            let index = self.expression()?;
            self.expect("]")?;
            expr = Expr::Index(Box::new(expr), Box::new(index));
        }
        Ok(expr)
    }

    fn atom(&mut self) -> Result<Expr, EvalError> {
        let Some(kind) = self.peek() else { return Err(self.expected("an expression")) };
        match kind {
            Kind::Int(number) => {
                self.at += 1;
                Ok(Expr::Int(*number))
            }
            Kind::Float(number) => {
                self.at += 1;
                Ok(Expr::Float(*number))
            }
            Kind::Text(_) => {
                let mut text = String::new();
                while let Some(Kind::Text(part)) = self.peek() {
                    text.push_str(part);
                    self.at += 1;
                }
                Ok(Expr::Text(text))
            }
            Kind::Name(name) if !KEYWORDS.contains(&name.as_str()) => {
                self.at += 1;
                if self.eat("(") {
                    Ok(Expr::Call(name.clone(), self.items(")")?.0))
                } else {
                    Ok(Expr::Name(name.clone()))
                }
            }
            Kind::Sign("(") => {
                self.at += 1;
                let (mut items, tuple) = self.items(")")?;
                if items.len() == 1 && !tuple { Ok(items.remove(0)) } else { Ok(Expr::List(items)) }
            }
            Kind::Sign("[") => {
                self.at += 1;
                Ok(Expr::List(self.items("]")?.0))
            }
            _ => Err(self.expected("an expression")),
        }
    }

    /// Expressions up to `close`, and whether a comma stood among them.
    fn items(&mut self, close: &str) -> Result<(Vec<Expr>, bool), EvalError> {
        let mut items = Vec::new();
        let mut comma = false;
        while !self.eat(close) {
            if !items.is_empty() {
                if !self.eat(",") {
                    return Err(self.expected(&format!("`,` or `{close}`")));
                }
                comma = true;
                if self.eat(close) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok((items, comma))
    }
}
