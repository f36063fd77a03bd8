# frozen_string_literal: true

require "fileutils"
require "shellwords"

# A PostgreSQL server of its own in a temporary directory, reached by a socket there.
class Postgres
  BIN = Dir["/usr/lib/postgresql/*/bin"].max_by { |folder| folder[/\d+/].to_i }

  # @param folder [String] that exists
  # @return [String] URL of its database; the server ends with this process
  def self.url(folder)
    owner = Process.pid
    server = new(File.join(folder, "postgres")).start
    at_exit { server.stop if Process.pid == owner }
    server.url
  end

  def initialize(folder)
    @folder = folder
  end

  def url = "postgresql:///postgres?host=#{@folder}&user=transfer"

  def start
    FileUtils.mkdir(@folder, mode: 0o700)
    FileUtils.chown("nobody", nil, @folder) if root?
    FileUtils.chmod(0o711, File.dirname(@folder)) if root?
    run("initdb", "-D", data, "-U", "transfer", "-A", "trust", "--no-sync", "-E", "UTF8")
    # Not durable, and as fast.
    options = "-k #{@folder} -h '' -c fsync=off -c synchronous_commit=off"
    run("pg_ctl", "-D", data, "-w", "-l", File.join(@folder, "log"), "-o", options, "start")
    self
  end

  def stop = run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")

  private

  def data = File.join(@folder, "data")
  def root? = Process.uid.zero?

  # The server refuses to run as root.
  def run(program, *arguments)
    command = [File.join(BIN, program), *arguments]
    command = ["setpriv", "--reuid=nobody", "--clear-groups", "--", *command] if root?
    system(*command, %i[out err] => File::NULL, in: File::NULL) || raise("#{command.shelljoin} failed")
  end
end
