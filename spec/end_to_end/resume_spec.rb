# frozen_string_literal: true

require "shared/resume"

RSpec.describe "An interrupted training with the real core", :end_to_end do
  include_examples "an interrupted training"

  it "is resumed to the same model after kill -9" do
    run = ended_after(2) { Process.kill(:KILL, Transfer.stats.dig(:workers, :train, :processes, 0, :pid)) }
    expect_the_same_of(run)
  end
end
