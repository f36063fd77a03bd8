# frozen_string_literal: true

require "shared/resume"

RSpec.describe "A training that ends too early, with the real core", :end_to_end do
  include_examples "a training that ends too early"

  it "goes on to the same model after kill -9" do
    run = ended_after(2) { Process.kill(:KILL, Transfer.stats.dig(:workers, :train, :processes, 0, :pid)) }
    expect_the_same_of(run)
  end
end
