# frozen_string_literal: true

ENV["TRANSFER_PYTHON"] ||= File.expand_path("../.venv/bin/python", __dir__)
ENV["TRANSFER_QUIET"] ||= "1"

require "transfer"
require "tempfile"
require "timeout"
require "tmpdir"
Dir[File.join(__dir__, "support/*.rb")].each { |file| require file }

RSpec.configure do |config|
  config.disable_monkey_patching!
  config.order = :random
  Kernel.srand config.seed
  config.expect_with(:rspec) { |expectations| expectations.max_formatted_output_length = 2000 }

  config.include Workers
  config.include Photos
  config.include Scripts
  config.include CommandLine

  config.around do |example|
    Timeout.timeout(300) { example.metadata[:end_to_end] ? example.run : Leaks.none_from(example) }
  end

  # A temporary directory for each example.
  config.around(:example, :scratch) do |example|
    Dir.mktmpdir("transfer-spec") do |folder|
      @scratch = File.realpath(folder)
      example.run
    end
  end

  # A temporary directory for all examples of a group.
  config.before(:context, :folder) { @folder = File.realpath(Dir.mktmpdir("transfer-spec")) }
  config.after(:context, :folder) { FileUtils.rm_rf(@folder) }

  # An empty `TRANSFER_HOME` for each example.
  config.around(:example, :home) do |example|
    Dir.mktmpdir("transfer-spec") do |folder|
      before = Transfer.config.home
      Transfer.config.home = @home = File.realpath(folder)
      example.run
    ensure
      Transfer.shutdown
      Transfer.config.home = before
    end
  end

  # Starting the real worker takes seconds: the examples of such a group share it.
  config.before(:context, :end_to_end) do
    @before_all = Leaks.state
    @scratch = Dir.mktmpdir("transfer-spec")
    Transfer.config.home = File.join(@scratch, "home")
  end

  config.after(:context, :end_to_end) do
    Transfer.config.home = nil
    Transfer.shutdown
    FileUtils.rm_rf(@scratch)
    left = Leaks.left_since(@before_all)
    raise "left behind: #{left.inspect}" unless left.empty?
  end
end
