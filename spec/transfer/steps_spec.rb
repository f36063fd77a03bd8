# frozen_string_literal: true

require "transfer/steps"

RSpec.describe "Transfer::Steps" do
  # A terminal of 80 columns.
  def terminal = StringIO.new.tap { |io| io.define_singleton_method(:tty?) { true } }

  def shown(out) = out.tap { Transfer.const_get(:Steps).new(out).run("Working") { 1 } }.string

  around do |example|
    before = ENV.delete("NO_COLOR")
    example.run
  ensure
    ENV["NO_COLOR"] = before
  end

  it "colours outcomes on a terminal unless NO_COLOR is set" do
    expect(shown(terminal)).to end_with("\e[32mdone\e[0m Working (0 s)\n")
    ENV["NO_COLOR"] = "1"
    expect(shown(terminal)).to end_with("\e[Kdone Working (0 s)\n")
    ENV["NO_COLOR"] = ""
    expect(shown(terminal)).to include("\e[32m")
    expect(shown(StringIO.new)).to eq("Working ...\ndone Working (0 s)\n")
  end
end
