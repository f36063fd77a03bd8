# frozen_string_literal: true

require "io/console"
require "open3"
require "pty"
require "stringio"
require "transfer/cli"

# The command `transfer`.
module CommandLine
  # In this process.
  # @return [Array(String, String, Integer)] standard output, standard error and exit status
  def transfer(*argv, input: "")
    streams = [$stdin, $stdout, $stderr]
    $stdin = StringIO.new(input)
    $stdout = StringIO.new
    $stderr = StringIO.new
    status = Transfer::CLI.run(argv)
    [$stdout.string, $stderr.string, status]
  ensure
    $stdin, $stdout, $stderr = streams
  end

  # In this process, with a terminal as standard output.
  # @param env [Hash] environment variables, nil: unset
  # @return [Array(String, Integer)] what the terminal gets, and the exit status
  def transfer_on_terminal(*argv, **env)
    before = env.to_h { |name, _| [name.to_s, ENV.fetch(name.to_s, nil)] }
    PTY.open do |terminal, output|
      output.raw!
      received = Thread.new { received_by(terminal) }
      ENV.update(env.transform_keys(&:to_s))
      $stdout = output
      status = Transfer::CLI.run(argv)
      output.close
      [received.value, status]
    end
  ensure
    $stdout = STDOUT
    ENV.update(before)
  end

  # In a process of its own.
  # @param env [Hash] environment variables, nil: unset
  # @return (see #transfer)
  def executable(*argv, **env)
    command = [RbConfig.ruby, "-I", "gem/lib", "gem/exe/transfer", *argv]
    out, err, status = Open3.capture3(env.transform_keys(&:to_s), *command, chdir: File.expand_path("../..", __dir__))
    [out, err, status.exitstatus]
  end

  private

  def received_by(terminal)
    received = "".b
    loop { received << terminal.readpartial(4096) }
  rescue Errno::EIO # the other end is closed
    received
  end
end
