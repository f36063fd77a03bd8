# frozen_string_literal: true

RSpec.describe Transfer::Event do
  it "has the fields of its kind, and ignores those of a newer core" do
    name, epoch = described_class.parse(
      { "event" => "epoch", "step" => "train", "number" => 1, "of" => 5, "metrics" => { "accuracy" => 0.5 },
        "new" => 1 }
    )
    expect([name, epoch.step, epoch.number, epoch.of, epoch.metrics[:accuracy]]).to eq([:epoch, :train, 1, 5, 0.5])
    expect(described_class.parse({ "event" => "news" })).to be_nil
  end
end

RSpec.describe Transfer::Progress do
  it "follows the events" do
    progress = described_class.none
    expect([progress.fraction, progress.inspect]).to eq([nil, "#<Transfer::Progress not started>"])
    progress = progress.after(Transfer::Event::Stage.new(:head, "Computing features"))
    progress = progress.after(Transfer::Event::Progress.new(:head, 3, 12, "photos"))
    expect([progress.fraction, progress.inspect])
      .to eq([0.25, "#<Transfer::Progress Computing features, 3/12 photos>"])
    progress = progress.after(Transfer::Event::Stage.new(:train, "Training"))
    progress = progress.after(Transfer::Event::Epoch.new(:train, 1, 2, { accuracy: 0.5 }))
    expect([progress.step, progress.done, progress.fraction, progress.metrics])
      .to eq([:train, nil, 0.5, { accuracy: 0.5 }])
    expect(progress.after(Transfer::Event::Warning.new("x"))).to eq(progress)
  end
end
