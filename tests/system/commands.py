"""Commands that tests run to their end."""
import subprocess

TIME_LIMIT = 60


def run_to_end(*command, status=0, stdin=None):
    """The completed process, with its output as text; the exit status must be as expected."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=TIME_LIMIT, input=stdin)
    if done.returncode != status:
        raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}, expected {status}\n{done.stdout}{done.stderr}")
    return done
