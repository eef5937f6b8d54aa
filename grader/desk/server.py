"""Starts the Jupyter server of the desk: `python -m grader.desk.server --ServerApp....`, without any settings files.

Extensions that are installed beside ours switch themselves on by files below the environment's etc/jupyter; the desk
must not have them.
"""

from jupyter_server.serverapp import ServerApp


class DeskApp(ServerApp):
    """A server that reads no configuration but its command line."""

    def load_config_file(self, *arguments: object, **more: object) -> None:
        """Nothing is read."""

    def find_server_extensions(self) -> None:
        """None but those of the command line."""


if __name__ == "__main__":
    DeskApp.launch_instance()
