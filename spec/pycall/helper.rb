# frozen_string_literal: true

# Python can be loaded into a process once, and can't be unloaded. These specs need a process of their own:
#   rspec --exclude-pattern none spec/pycall
Transfer.config.bridge = :pycall

environment = ENV.to_h

# Loaded before the first check for leaks.
reason =
  begin
    Transfer.backbone("mobilenet_v2")
    nil
  rescue Transfer::DependencyError, Transfer::ConfigurationError => error
    "PyCall can't be used here: #{error.message}"
  end
Transfer.shutdown

RSpec.configure do |config|
  config.before(:context) { skip(reason) if reason }

  # Python and torch set variables of this process.
  config.after(:context) { ENV.replace(environment) }
end
