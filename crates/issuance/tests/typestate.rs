//! What the compiler refuses: each file in `typestate/` is one way around the corridor, with the compiler's words.

#[test]
fn ways_around_the_corridor() {
    trybuild::TestCases::new().compile_fail("tests/typestate/*.rs");
}
