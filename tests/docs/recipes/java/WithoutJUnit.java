/** Runs the JUnit recipe where there is no JUnit: its methods in their order. */
final class WithoutJUnit {
    public static void main(String[] arguments) throws Exception {
        var test = new SignupTest();
        SignupTest.start();
        try {
            test.whoSignsUpIsWelcomed();
            test.aFullMailboxIsNoError();
            System.out.println("passed both");
        } finally {
            SignupTest.end();
        }
    }
}
