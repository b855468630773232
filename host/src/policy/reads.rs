//! What a policy reads: the walk over its conditions.
//!
//! `context.claimed` holds what guests and reporters say. A permit or gate that reads it would let the asked decide the
//! answer (INVARIANT 5), so the load refuses it. The walk is sound rather than clever: in a permit or gate `context` may
//! stand only as `context.FACT` or `context has FACT` with a fact other than `claimed`; anything else, such as comparing
//! the whole context or choosing it with `if`, counts as reading everything.

use std::collections::BTreeSet;

use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, Var};

/// The fact that is not the host's.
const CLAIMED: &str = "claimed";
/// The fact that nobody fills in yet.
const WINDOWS: &str = "windows";
/// The facts that are the host's and that it knows.
const KNOWN: [&str; 4] = ["now", "incident", "used", "approvals"];

/// Whether the text of a policy shows by itself that it does not read `context.claimed` or `context.windows`: wherever it
/// says `context`, one of the facts that the host knows follows after a dot. Cedar knows no other way to write that word or a name after a dot (escapes
/// exist in strings only), so a text that says no is looked at again as a tree, and one that says yes need not be.
pub(super) fn plainly_innocent(text: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.split("context").skip(1).all(|after| {
        let name = after.strip_prefix('.').and_then(|after| after.split(|letter| !is_word(letter)).next());
        name.is_some_and(|name| KNOWN.contains(&name))
    })
}

/// Whether a clause could depend on `context.claimed`.
pub(super) fn reads_claimed(clause: &Clause) -> bool {
    let mut reads = false;
    walk(body(clause), &mut |expr| reads |= touches_claimed(expr));
    reads
}

/// Whether a clause reads `context.windows`, by whatever way: no other value has an attribute of that name.
pub(super) fn reads_windows(clause: &Clause) -> bool {
    let mut reads = false;
    walk(body(clause), &mut |expr| {
        reads |= match expr {
            Expr::GetAttr { attr, .. } => attr.as_str() == WINDOWS,
            Expr::HasAttr { attrs, .. } => attrs.head.as_str() == WINDOWS,
            _ => false,
        };
    });
    reads
}

/// The roles whose approval the clauses ask for: `context.approvals.contains("ROLE")`, also `containsAny` and
/// `containsAll`. None if they read the approvals in another way: then nobody can tell whose count.
pub(super) fn roles(clauses: &[Clause]) -> Option<BTreeSet<String>> {
    let is_approvals =
        |expr: &Expr| matches!(expr, Expr::GetAttr { expr, attr } if is_context(expr) && attr.as_str() == "approvals");
    let (mut roles, mut reads, mut plain) = (BTreeSet::new(), 0, 0);
    for clause in clauses {
        walk(body(clause), &mut |expr| {
            reads += usize::from(is_approvals(expr));
            let Expr::BinaryOp { op, left, right } = expr else { return };
            let asks = matches!(op, BinaryOp::Contains | BinaryOp::ContainsAny | BinaryOp::ContainsAll);
            if let Some(named) = literals(right).filter(|_| asks && is_approvals(left)) {
                roles.extend(named);
                plain += 1;
            }
        });
    }
    (reads == plain).then_some(roles)
}

/// The text or texts that are written out there.
fn literals(expr: &Expr) -> Option<Vec<String>> {
    match expr {
        Expr::Literal(Literal::String(text)) => Some(vec![text.to_string()]),
        Expr::Set(items) => {
            let all: Option<Vec<Vec<String>>> = items.iter().map(|item| literals(item)).collect();
            all.map(|all| all.concat())
        }
        _ => None,
    }
}

/// Whether a clause reads `context.FACT`.
pub(super) fn reads_fact(clause: &Clause, fact: &str) -> bool {
    let mut reads = false;
    walk(body(clause), &mut |expr| {
        if let Expr::GetAttr { expr, attr } = expr {
            reads |= is_context(expr) && attr.as_str() == fact;
        }
    });
    reads
}

/// The values a condition reads, outermost first, without repetition: `context.used.h1`, `resource.protected`.
pub(super) fn paths(condition: &Expr) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    walk(condition, &mut |expr| {
        if let Some(path) = path_of(expr)
            && !paths.iter().any(|known| *known == path || known.starts_with(&format!("{path}.")))
        {
            paths.push(path);
        }
    });
    paths
}

/// A clause as conditions that must each hold, and whether each must be true (`when`) or false (`unless`).
pub(super) fn conditions(clause: &Clause) -> Vec<(&Expr, bool)> {
    let (joint, wanted) = match clause {
        Clause::When(_) => (BinaryOp::And, true),
        Clause::Unless(_) => (BinaryOp::Or, false),
    };
    let mut parts = Vec::new();
    let mut open = vec![body(clause)];
    while let Some(expr) = open.pop() {
        match expr {
            Expr::BinaryOp { op, left, right } if *op == joint => open.extend([right.as_ref(), left.as_ref()]),
            other => parts.push((other, wanted)),
        }
    }
    parts
}

fn body(clause: &Clause) -> &Expr {
    match clause {
        Clause::When(expr) | Clause::Unless(expr) => expr,
    }
}

fn is_context(expr: &Expr) -> bool {
    matches!(expr, Expr::Var(Var::Context))
}

fn touches_claimed(expr: &Expr) -> bool {
    match expr {
        Expr::GetAttr { expr, attr } => is_context(expr) && attr.as_str() == CLAIMED,
        Expr::HasAttr { expr, attrs } => is_context(expr) && attrs.head.as_str() == CLAIMED,
        // `children` leaves out a `context` whose attribute is named beside it, so one that is met stands alone.
        Expr::Var(Var::Context) => true,
        other => children(other).is_none(),
    }
}

fn path_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::GetAttr { expr, attr } => Some(format!("{}.{attr}", path_of(expr)?)),
        Expr::Var(Var::Context) => Some("context".to_owned()),
        Expr::Var(Var::Resource) => Some("resource".to_owned()),
        _ => None,
    }
}

/// Visits every expression once, without recursion.
fn walk<'a>(root: &'a Expr, visit: &mut impl FnMut(&'a Expr)) {
    let mut open = vec![root];
    while let Some(expr) = open.pop() {
        visit(expr);
        open.extend(children(expr).into_iter().flatten().rev());
    }
}

/// The operands of an expression; a `context` whose attribute the expression names is not one of them. None for a kind
/// that only a later Cedar has: what cannot be examined counts as reading everything.
fn children(expr: &Expr) -> Option<Vec<&Expr>> {
    Some(match expr {
        Expr::Literal(_) | Expr::Var(_) => Vec::new(),
        Expr::GetAttr { expr, .. } | Expr::HasAttr { expr, .. } if is_context(expr) => Vec::new(),
        Expr::UnaryOp { expr, .. }
        | Expr::GetAttr { expr, .. }
        | Expr::HasAttr { expr, .. }
        | Expr::Like { expr, .. } => vec![expr],
        Expr::BinaryOp { left, right, .. } => vec![left, right],
        Expr::Is { expr, in_expr, .. } => std::iter::once(expr.as_ref()).chain(in_expr.as_deref()).collect(),
        Expr::IfThenElse { cond, then_expr, else_expr } => vec![cond, then_expr, else_expr],
        Expr::Set(items) => items.iter().map(AsRef::as_ref).collect(),
        Expr::Record(fields) => fields.values().map(AsRef::as_ref).collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clauses(condition: &str) -> Vec<Clause> {
        let text = format!("permit (principal, action, resource) {condition};");
        let policy = cedar_policy::Policy::parse(None, text).unwrap();
        match policy.to_pst().unwrap() {
            cedar_policy::pst::Policy::Static(policy) => policy.body().clauses().clone(),
            cedar_policy::pst::Policy::Linked(_) => panic!("not a template"),
        }
    }

    #[test]
    fn every_way_to_claimed_is_seen() {
        for reading in [
            "when { context.claimed.labels.contains(\"a\") }",
            "when { context[\"claimed\"].labels.isEmpty() }",
            "when { context has claimed }",
            "when { context has claimed.labels }",
            "when { context has \"claimed\" }",
            "when { context == context }",
            "when { (if true then context else context).claimed.labels.isEmpty() }",
            "when { {a: context}.a.claimed.labels.isEmpty() }",
            "when { [context].contains(context) }",
            "unless { true && !(context.claimed.labels.isEmpty()) }",
            "when { if context.claimed.labels.isEmpty() then true else false }",
            "when { [[context.claimed]].isEmpty() }",
            "when { principal is Guardian::Playbook in context.claimed.x }",
            "when { context.claimed.x like \"a*\" }",
            "when { context . claimed.labels.isEmpty() }",
            "when { context// .used\n.claimed.labels.isEmpty() }",
            "when { context.used.h1 < 3 && context.claimed.labels.isEmpty() }",
            "when { context[\"\\u{63}laimed\"].labels.isEmpty() }",
            "when { context[\"claimed\"].labels.contains(\"context.used\") }",
        ] {
            assert!(clauses(reading).iter().any(reads_claimed), "{reading}");
            assert!(!plainly_innocent(reading), "{reading}");
        }
        for innocent in [
            "when { context.used.h1 < 3 && context has incident.kind }",
            "when { resource in context.incident.target }",
            "when { context.windows.contains(\"claimed\") }",
            "when { resource has claimed }",
        ] {
            assert!(!clauses(innocent).iter().any(reads_claimed), "{innocent}");
        }
        for windows in [
            "when { context.windows.contains(\"a\") }",
            "unless { context[\"\\u{77}indows\"].isEmpty() }",
            "when { context has windows }",
            "when { {a: context}.a.windows.isEmpty() }",
        ] {
            assert!(clauses(windows).iter().any(reads_windows) && !plainly_innocent(windows), "{windows}");
        }
        assert!(plainly_innocent("when { context.used.h1 < 3 && resource in context.incident.target }"));
        // No way to read it, and not plainly so: the tree decides.
        for odd in ["when { context.used_ }", "when { context has used }", "when { context.nowclaimed }", "context"] {
            assert!(!plainly_innocent(odd), "{odd}");
        }
    }

    #[test]
    fn the_roles_that_are_asked_for_are_named() {
        let roles = |condition: &str| roles(&clauses(condition)).map(|roles| roles.into_iter().collect::<Vec<_>>());
        let two = "unless { context.approvals.contains(\"b\") && context.approvals.containsAny([\"a\", \"b\"]) }";
        assert_eq!(roles(two).unwrap(), ["a", "b"]);
        assert_eq!(roles("when { context.used.h1 < 3 }").unwrap(), [""; 0]);
        for odd in [
            "unless { !context.approvals.isEmpty() }",
            "unless { context.approvals == [\"a\"] }",
            "unless { [\"a\"].containsAll(context.approvals) }",
            "unless { context.approvals.contains(context.incident.kind) }",
            "unless { context.approvals.contains(\"a\") || context.approvals.contains(resource.x) }",
        ] {
            assert_eq!(roles(odd), None, "{odd}");
        }
    }

    #[test]
    fn conditions_are_split_and_their_facts_named() {
        let clauses =
            clauses("when { context.used.h1 < 3 && resource in context.incident.target } unless { true || false }");
        let all: Vec<(String, bool)> =
            clauses.iter().flat_map(conditions).map(|(expr, wanted)| (expr.to_string(), wanted)).collect();
        assert_eq!(all.len(), 4, "{all:?}");
        assert_eq!(all.iter().map(|(_, wanted)| *wanted).collect::<Vec<_>>(), [true, true, false, false]);
        let (first, _) = conditions(&clauses[0])[0];
        assert_eq!(paths(first), ["context.used.h1"]);
        assert!(reads_fact(&clauses[0], "used") && !reads_fact(&clauses[0], "approvals"));
    }
}
