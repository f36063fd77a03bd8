# frozen_string_literal: true

require "open3"
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

  # In a process of its own.
  # @param env [Hash] environment variables, nil: unset
  # @return (see #transfer)
  def executable(*argv, **env)
    command = [RbConfig.ruby, "-I", "gem/lib", "gem/exe/transfer", *argv]
    out, err, status = Open3.capture3(env.transform_keys(&:to_s), *command, chdir: File.expand_path("../..", __dir__))
    [out, err, status.exitstatus]
  end
end
