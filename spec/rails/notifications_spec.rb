# frozen_string_literal: true

require_relative "helper"

RSpec.describe "Notifications" do
  before { reset }
  after { reset }

  let(:model) { Transfer::Rails.model("photos_kind") }

  # @return [Array<Hash>] payloads of the events during the block
  def payloads(name, &)
    found = []
    ActiveSupport::Notifications.subscribed(->(event) { found << event.payload }, name, &)
    found
  end

  it "have the state of each stored prediction" do
    Transfer::Testing.fake!(photos_kind: { "red" => 0.6, "blue" => 0.4 })
    record = nil
    found = payloads("prediction.transfer") { record = photo("red") }
    expect(found).to eq([{ record:, name: "kind", state: "pending", label: nil, score: nil, version_id: nil },
                         { record:, name: "kind", state: "abstained", label: "red", score: 0.6, version_id: nil }])
    Transfer::Testing.fake!(photos_kind: "blue")
    Transfer::Rails::Prediction.update_all(digest: nil)
    expect(payloads("prediction.transfer") { Photo.predict_all(:kind) })
      .to eq([{ record:, name: "kind", state: "accepted", label: "blue", score: 1.0, version_id: nil }])
  end

  it "have promotions, roll-backs and the ends of trainings" do
    allow(Transfer::Rails::VersionFiles).to receive(:fetch)
    one, two = Array.new(2) { |i| model.versions.create!(number: i + 1, sha256: "0" * 64, held_out: [], summary: {}) }
    found = payloads("promote.transfer") do
      [one, two, two].each { |version| model.promote!(version) }
      model.roll_back!
    end
    expect(found).to eq([{ model: "photos_kind", version: 1, previous: nil },
                         { model: "photos_kind", version: 2, previous: 1 },
                         { model: "photos_kind", version: 1, previous: 2 }])
    run = model.runs.create!(recipe: "NoRecipe", status: "enqueued")
    expect(payloads("run.transfer") { Transfer::TrainJob.perform_now(run) })
      .to match([{ run:, model: "photos_kind", status: "failed", error: /no recipe NoRecipe/ }])
  end
end
