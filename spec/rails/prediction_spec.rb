# frozen_string_literal: true

require_relative "helper"

RSpec.describe "has_prediction" do
  before { reset }
  after { reset }

  describe "with a model that is trained on the labelled records" do
    it "predicts records from the training to the correction" do
      photos = labelled
      unlabelled = photo("red")
      expect(unlabelled.reload.kind_prediction).to have_attributes(state: "pending", error: /no live version/)

      run = Photo.train_prediction(:kind).reload
      expect(run).to have_attributes(status: "succeeded", error: nil)
      model = Transfer::Rails.model("photos_kind")
      expect(model.examples.group(:split).count).to eq("train" => 16, "test" => 4)
      expect(model.live_version.held_out.map { |one| one["example"] }).to match_array(model.examples.held_out.ids)

      broken = Photo.new
      broken.file.attach(io: StringIO.new("no picture"), filename: "broken.png")
      broken.save!
      lost = photo("red")
      lost.reload.kind_prediction.destroy!
      File.delete(lost.file.blob.service.path_for(lost.file.key))
      Photo.predict_all(:kind)
      expect(unlabelled.reload.kind).to eq("red")
      expect(broken.reload.kind_prediction)
        .to have_attributes(state: "failed", error: /\APhoto #{broken.id}: it is not an image/)
      expect(lost.reload.kind_prediction).to have_attributes(state: "failed", error: /missing from storage/)
      [broken, lost].each(&:destroy!)
      expect(unlabelled.kind_prediction).to have_attributes(state: "accepted", version: model.live_version)
      expect(Photo.all.map(&:kind)).to eq([*photos.map(&:species), "red"])

      before = unlabelled.kind_prediction.updated_at
      unlabelled.predict_kind!
      Photo.predict_all(:kind)
      expect(unlabelled.reload.kind_prediction.updated_at).to eq(before)

      # From the file of the version alone, as on another machine.
      FileUtils.rm_rf(File.join(Transfer.config.home, "versions"))
      Transfer::Rails::LiveModels.clear
      expect(photo("blue").reload.kind).to eq("blue")
    end
  end

  describe "with given predictions" do
    before { Transfer::Testing.fake!(photos_kind: { "red" => 0.6, "blue" => 0.4 }, tickets: "billing", flats: 100) }

    it "abstains below the threshold, and orders by uncertainty" do
      first = photo("red").reload
      expect(first).to have_attributes(kind: nil)
      expect(first.kind_prediction).to have_attributes(state: "abstained", label: "red", score: 0.6)
      Transfer::Testing.fake!(photos_kind: { "red" => 0.5, "blue" => 0.5 })
      second = photo("blue")
      expect(Photo.needs_review(:kind).most_uncertain).to eq([second, first])
    end

    it "keeps the label of a person while the input stays" do
      record = photo("red").reload
      record.correct_kind!("green", by: photo("blue"))
      expect(record.reload.kind).to eq("green")
      expect(Photo.needs_review(:kind)).not_to include(record)
      record.predict_kind!
      expect(record.reload.kind).to eq("green")
      feedback = Transfer::Rails::Feedback.sole
      expect(feedback).to have_attributes(predicted: "red", label: "green", user: Photo.last)
      expect(Transfer::Rails::Example.sole).to have_attributes(record:, label: "green", split: nil)

      record.file.attach(io: StringIO.new(png(Photos::COLORS["blue"])), filename: "new.png")
      expect(record.reload.kind_prediction).to have_attributes(corrected_label: nil, state: "abstained")
    end

    it "never changes a held-out label silently" do
      photos = labelled
      photos.each { |one| one.prediction_for(:kind).learn_label }
      model = Transfer::Rails.model("photos_kind").divide!
      held_out = model.examples.held_out.first
      held_out.record.correct_kind!("green")
      expect(held_out.reload).to have_attributes(label: held_out.record.species, proposed_label: "green", split: "test")
      photo("red").correct_kind!("red")
      expect(model.divide!.examples.held_out.count).to eq(4)
      model.divide_again!
      expect(held_out.reload).to have_attributes(label: "green", proposed_label: nil)
    end

    it "predicts texts and rows on demand" do
      ticket = Ticket.create!(body: "Where is my invoice?")
      expect(ticket.queue_prediction).to be_nil
      expect(ticket.tap(&:predict_queue!).queue).to eq("billing")
      flat = Flat.create!(size: 60, district: "north")
      expect(flat.tap(&:predict_price!).price).to eq(100.0)
      inputs = []
      Transfer::Testing.fake!(flats: ->(input) { (inputs << input) && 1 })
      flat.update!(size: 61)
      flat.predict_price!
      expect(inputs).to eq([{ "size" => 61.0, "district" => "north" }])
    end

    it "keeps a state for a record without input, and for a file that is gone" do
      empty = Photo.create!
      expect(empty.tap(&:predict_kind!).kind_prediction).to have_attributes(state: "failed", error: /there is no file/)
      expect(Ticket.create!.tap(&:predict_queue!).queue_prediction)
        .to have_attributes(state: "failed", error: /there is no body/)
      expect { photo("red").destroy! }.to change(Transfer::Rails::Prediction, :count).by(0)
    end

    it "rejects a wrong word" do
      expect { Photo.needs_review(:color) }.to raise_error(ArgumentError, /no prediction color; it has: kind/)
      expect { photo("red").correct_kind!(" ") }.to raise_error(ArgumentError, /a label is text/)
      expect { Photo.has_prediction(:x, from: :file, on: :save) }.to raise_error(ArgumentError, /:commit or :demand/)
    end
  end
end
