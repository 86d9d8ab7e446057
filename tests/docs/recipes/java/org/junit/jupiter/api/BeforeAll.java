package org.junit.jupiter.api;

/** What the recipe needs of JUnit to compile. */
public @interface BeforeAll {}
