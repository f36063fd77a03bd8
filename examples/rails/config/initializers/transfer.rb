# frozen_string_literal: true

Rails.application.configure do
  config.transfer.password = ENV.fetch("TRANSFER_PASSWORD", "secret")
end

Transfer.configure do |config|
  config.max_pixels = 24_000_000
end
