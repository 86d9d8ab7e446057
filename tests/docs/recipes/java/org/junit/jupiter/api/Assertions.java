package org.junit.jupiter.api;

/** What the recipe needs of JUnit to run. */
public final class Assertions {
    public static void assertTrue(boolean is) {
        if (!is) throw new AssertionError();
    }

    public static void assertEquals(Object expected, Object is) {
        if (!expected.equals(is)) throw new AssertionError(expected + " is not " + is);
    }
}
