# frozen_string_literal: true

require "json"
require_relative "shell"

RSpec.describe "An application in development" do
  include Shell

  it "has edited models and recipes at the next request, also while it trains" do
    Dir.mktmpdir do |folder|
      program = File.expand_path("../support/rails/development.rb", __dir__)
      printed = sh("#{RbConfig.ruby} -I #{File.expand_path('../../gem/lib', __dir__)} #{program} #{folder}", folder)
      result = JSON.parse(printed.lines.last, symbolize_names: true)
      expect(result).to include(before: { accept: 0.1, seed: 1 }, edited: { accept: 0.2, seed: 2 }, page: 200)
      expect(result).to include(during: { accept: 0.3, seed: 2 }, status: "succeeded", error: nil)
      expect(result[:predicted]).to be_within(20).of(100)
    end
  end
end
