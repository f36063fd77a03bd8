# frozen_string_literal: true

ENV["TRANSFER_PYTHON"] ||= File.expand_path("../.venv/bin/python", __dir__)
ENV["TRANSFER_QUIET"] ||= "1"

require "transfer"
require "tempfile"
require "timeout"
Dir[File.join(__dir__, "support/*.rb")].each { |file| require file }

RSpec.configure do |config|
  config.disable_monkey_patching!
  config.order = :random
  Kernel.srand config.seed
  config.expect_with(:rspec) { |expectations| expectations.max_formatted_output_length = 2000 }

  config.include Workers
  config.include Photos
  config.include Scripts

  config.around do |example|
    Timeout.timeout(120) { Leaks.none_from(example) }
  end
end
